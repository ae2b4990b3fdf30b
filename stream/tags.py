"""Titles, languages and other words about a file: which a container can keep, and how they are handed over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_OWN = {"major_brand", "minor_version", "compatible_brands", "encoder"}
"""What a container says of itself; wrong in any other file."""

_STATISTICS = ("bps", "duration", "number_of_frames", "number_of_bytes", "_statistics_", "source_id")
"""What MKV counts of a track; no longer true of the new video, and counted anew by the muxer."""

_PLAIN = {
    "mp4": frozenset(
        (
            "album",
            "album_artist",
            "artist",
            "comment",
            "compilation",
            "composer",
            "copyright",
            "creation_time",
            "date",
            "description",
            "disc",
            "episode_id",
            "episode_sort",
            "gapless_playback",
            "genre",
            "grouping",
            "hd_video",
            "keywords",
            "lyrics",
            "media_type",
            "network",
            "season_number",
            "show",
            "synopsis",
            "title",
            "track",
        )
    ),
    "mov": frozenset(
        ("album", "artist", "comment", "copyright", "creation_time", "date", "genre", "make", "model", "title")
    ),
}
"""Keys that MP4 and MOV keep in the boxes that every player reads."""

_TRACK_KEYS = frozenset(
    ("language", "title", "name", "handler_name", "vendor_id", "creation_time", "timecode", "rotate", "encoder")
)
"""Keys of a track that MP4 and MOV keep or write themselves."""

_ALPHA = "alpha_mode"
"""Says in WebM and MKV that transparency lies beside the pictures of VP8 or VP9, where no decoder here looks for it."""


@dataclass(frozen=True, slots=True)
class FileTags:
    """What is written about the whole file, and how."""

    tags: dict[str, str]
    options: dict[str, str]
    """For the muxer."""
    lost: tuple[str, ...] = ()
    """Keys that this container cannot keep."""


def file_tags(metadata: Mapping[str, str], format_name: str, cover: bool) -> FileTags:
    """Decide how the file's own words are written.

    MP4 and MOV keep a fixed set of keys where every player looks, or any key in a newer place that fewer players
    read and that leaves no room for a cover picture; the newer place is used only where a key needs it.
    """
    tags = {key: value for key, value in metadata.items() if key.lower() not in _OWN}
    plain = _PLAIN.get(format_name)
    if plain is None:
        return FileTags(tags, {})
    tags = {key.lower() if key.lower() in plain else key: value for key, value in tags.items()}
    special = tuple(sorted(k for k in tags if k not in plain and not k.startswith("location")))
    if not special:
        return FileTags(tags, {})
    if cover:
        return FileTags({k: v for k, v in tags.items() if k not in special}, {}, special)
    return FileTags(tags, {"movflags": "use_metadata_tags"})


def track_tags(metadata: Mapping[str, str], *, video: bool = False) -> dict[str, str]:
    """A track's words for any container; `video` leaves out what is true of the old video alone."""
    tags = {k: v for k, v in metadata.items() if not (video and _is_stale(k))}
    if "name" in tags and "title" not in tags:  # what MP4's demuxer calls a track's title
        tags["title"] = tags.pop("name")
    return tags


def has_alpha(metadata: Mapping[str, str]) -> bool:
    """Whether a track says that it has transparency beside its pictures."""
    return any(key.lower() == _ALPHA and value != "0" for key, value in metadata.items())


def lost_track_keys(metadata: Iterable[str], format_name: str) -> list[str]:
    """Keys of a track that the container cannot keep."""
    if format_name not in _PLAIN:
        return []
    return sorted(k for k in metadata if k.lower() not in _TRACK_KEYS and not k.lower().startswith(_STATISTICS))


def _is_stale(key: str) -> bool:
    return key.lower().startswith(_STATISTICS) or key.lower() in ("encoder", "vendor_id", _ALPHA)
