"""What a finished run says: as an object for programs, in lines for people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream import LabelResult


def result_dict(result: LabelResult) -> dict[str, Any]:
    """Plain values for JSON.

    The keys that scripts rely on: `video` (None with `--no-video`), `tracks`, `frames`, `fps`, `people`.
    """
    return {
        "video": text_of(result.video),
        "tracks": text_of(result.tracks),
        "frames": result.frames,
        "fps": round(result.fps, 2),
        "seconds": round(result.seconds, 3),
        "people": [
            {
                "name": person.name,
                "seconds": round(person.seconds, 3),
                "appearances": [[round(start, 3), round(end, 3)] for start, end in person.appearances],
            }
            for person in result.people
        ],
        "damage": dict(result.damage),
        "notes": list(result.notes),
        "stages": dict(result.stages),
        "queues": dict(result.queues),
        "latency": dict(result.latency),
        "networks": dict(result.networks),
    }


def result_lines(result: LabelResult) -> list[str]:
    """The same for people to read."""
    lines = [f"{note[:1].upper()}{note[1:]}" for note in result.notes]
    if result.damage:
        counted = ", ".join(f"{count} {kind}" for kind, count in result.damage.items())
        lines.append(f"The source is damaged: {counted}. Everything that could be read is labelled.")
    if result.video is not None:
        lines.append(f"Labelled  {result.video}")
    lines.append(f"Record    {result.tracks}")
    lines.append(f"{count(result.frames, 'frame')} in {result.seconds:.1f} s ({result.fps:.1f} FPS)")
    lines += people_lines(result)
    return lines


def people_lines(result: LabelResult) -> list[str]:
    """Who was found, longest on screen first."""
    if not result.people:
        return ["Nobody was named."]
    if result.frames == 1:
        return [f"Found: {', '.join(person.name for person in result.people)}"]
    return [
        f"Found: {person.name}, {person.seconds:.1f} s in {count(len(person.appearances), 'appearance')}"
        for person in result.people
    ]


def count(number: int, noun: str) -> str:
    """A number and its noun.

    Example:
        >>> count(1, "frame"), count(2, "frame")
        ('1 frame', '2 frames')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def text_of(path: Path | None) -> str | None:
    return None if path is None else str(path)
