"""What a finished run says: as an object for programs, in lines for people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.wording import count
from stream.wording import length

if TYPE_CHECKING:
    from stream import LabelResult
    from stream.styles import Style, Unknown


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
    lines = [capital(note) for note in result.notes]
    if result.damage:
        from stream.source import damage_words

        counted = "; ".join(damage_words(result.damage))
        lines.append(f"The source is damaged: {counted}. Everything that could be read is labelled.")
    if result.video is not None:
        lines.append(f"Labelled  {result.video}")
    lines.append(f"Record    {result.tracks}")
    lines.append(f"{count(result.frames, 'frame')} in {result.seconds:.1f} s ({result.fps:.1f} FPS)")
    lines += people_lines(result)
    return lines


def nobody_known(style: Style, unknown: Unknown, *, drawn: bool) -> str:
    """What it means that there is no gallery; `drawn` unless only a record is written.

    Example:
        >>> from stream.styles import Style
        >>> nobody_known(Style("none", "blur"), "box", drawn=True)
        'No gallery (-g), so nobody is known: every face that is found is blurred.'
    """
    marked = unknown == "box" and style.marks not in ("none", "names")
    hidden = {"blur": "blurred", "pixelate": "pixelated"}
    what = [hidden[style.hide]] if style.hide else []
    if marked:
        what.append("marked in grey, without a name")
    outcome = f"every face that is found is {' and '.join(what)}" if what else "nothing is drawn"
    return f"No gallery (-g), so nobody is known: {outcome if drawn else 'nobody gets a name in the record'}."


def people_lines(result: LabelResult) -> list[str]:
    """Who was found, longest on screen first."""
    if not result.people:
        return ["Nobody was named."]
    if result.frames == 1:
        return [f"Found: {', '.join(person.name for person in result.people)}"]
    return [
        f"Found: {person.name}, {length(person.seconds)} on screen in {count(len(person.appearances), 'appearance')}"
        for person in result.people
    ]


def text_of(path: Path | None) -> str | None:
    return None if path is None else str(path)


def capital(words: str) -> str:
    """The same beginning with a capital, the rest as it is.

    Example:
        >>> capital("the picture of mv.mp4 is interlaced (tt)")
        'The picture of mv.mp4 is interlaced (tt)'
    """
    return f"{words[:1].upper()}{words[1:]}"
