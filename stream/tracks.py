"""The record of a video, `NAME.tracks.jsonl` (`iznet.tracks/1.2`): who was where on every frame.

One JSON object a line: a header, one line for every decoded frame, one for every track, a summary. The
shipped JSON Schema `tracks.schema.json` describes each kind of line.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NoReturn, Self

from engine.errors import InputError, OutputError
from engine.output_file import begin_output, check_output, finish_output, real_path, writing
from engine.wording import count
from stream.frames import Face, TrackVerdict
from stream.presence import PresenceLog
from stream.tracklines import (
    SCHEMA,
    SCHEMA_FILE,
    Header,
    Line,
    Model,
    RecordedFrame,
    Summary,
    contradiction,
    decode,
    encode,
)

__all__ = [
    "SCHEMA",
    "SCHEMA_FILE",
    "Header",
    "Line",
    "Model",
    "RecordedFrame",
    "Summary",
    "Tracks",
    "TracksWriter",
    "line_bytes",
    "lines",
    "partial_path",
    "read",
    "with_names",
]

FOLLOW_SECONDS = 0.25
"""How far a growing record may lag behind: writing every line by itself costs more than making it."""

_CUT_OFF = "so it was cut off; label the video again, or read from Python what is there (partial=True)"

_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"))
_ASCII_JSON = json.JSONEncoder(separators=(",", ":"))
# Half surrogates cannot be UTF-8; the others end a line for some programs.
_UNSAFE = re.compile("[\x85\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Tracks:
    """A whole record."""

    header: Header
    frames: tuple[RecordedFrame, ...]
    tracks: tuple[TrackVerdict, ...]
    summary: Summary | None
    """None where the record is still being written or was cut off."""

    @property
    def verdicts(self) -> dict[int, TrackVerdict]:
        """What became of every track, by its number."""
        return {verdict.track: verdict for verdict in self.tracks}

    @property
    def strangers(self) -> dict[int, list[int]]:
        """The tracks of every numbered unknown person, by that number; who was named since is none."""
        tracks: dict[int, list[int]] = {}
        for verdict in self.tracks:
            if verdict.name is None and verdict.stranger is not None:
                tracks.setdefault(verdict.stranger, []).append(verdict.track)
        return tracks


def partial_path(path: Path) -> Path:
    """The name a record has until it is complete, and keeps when it never is.

    Example:
        >>> partial_path(Path("mv.tracks.jsonl")).name
        'mv.partial.tracks.jsonl'
    """
    stem, dot, rest = path.name.partition(".tracks.")
    return path.with_name(f"{stem}.partial{dot}{rest}" if dot else f"{path.stem}.partial{path.suffix}")


class TracksWriter:
    """Writes a record line by line, so that it can be followed while it grows.

    Args:
        stream: a binary stream; whole lines reach it, with the first that is written a quarter of a second after the
            last that did, and at `flush`.
        header: written at once.
        target: the final name, set by `open`.

    Raises:
        OutputError: from every method, where the disk is full or the file cannot be written.
        ValueError: a number that is not finite; nothing of that line is written.

    Example:
        >>> import io
        >>> from fractions import Fraction
        >>> out = io.BytesIO()
        >>> writer = TracksWriter(out, Header("mv.mp4", 640, 360, 0, Fraction(1, 25), None))
        >>> writer.frame(index=0, pts=0, shot=0, faces=[])
        >>> writer.finish().frames
        1
        >>> len(out.getvalue().splitlines())
        3
    """

    def __init__(self, stream: BinaryIO, header: Header, *, target: Path | None = None) -> None:
        self._stream = stream
        self._target = target
        self._overwrite = False
        self._before_rename: Callable[[Path], None] = lambda path: None
        self._scale = header.time_base.numerator, header.time_base.denominator
        self._time_base = header.time_base
        self._waiting: list[bytes] = []
        self._flushed = 0.0
        self._log = PresenceLog(header.longest_silence)
        self._names: dict[int, str] = {}  # track → final name
        self._write(header)

    @classmethod
    def open(
        cls,
        path: str | Path,
        header: Header,
        *,
        overwrite: bool = False,
        before_rename: Callable[[Path], None] | None = None,
    ) -> TracksWriter:
        """Start the record `path`. Until `finish` it grows under the name that `partial_path` gives; what an
        earlier, interrupted run left under that name is replaced. `before_rename` is called with that name when the
        record is complete and about to get its final one. Permissions and links are kept as by `atomic_output`.

        Raises:
            OutputError: as `engine.output_file.check_output`.
        """
        check_output(path, overwrite)
        target = real_path(path)
        with writing(path):
            begin_output(partial_path(target), target)
            stream = partial_path(target).open("wb", buffering=0)
        try:
            writer = cls(stream, header, target=target)
        except BaseException:
            stream.close()
            partial_path(target).unlink(missing_ok=True)
            raise
        writer._overwrite = overwrite
        writer._before_rename = before_rename or writer._before_rename
        return writer

    @property
    def path(self) -> Path | None:
        """Where the lines are while they are written; None for a stream of the caller's."""
        return None if self._target is None else partial_path(self._target)

    @property
    def closed(self) -> bool:
        """Whether nothing more can be written."""
        return self._stream.closed

    def frame(self, *, index: int, pts: int, shot: int, faces: Sequence[Face]) -> None:
        """Write the line of one decoded frame: indices 0, 1, 2 …, faces as they are drawn."""
        if index != self._log.frames:
            raise ValueError(f"frame {index} where frame {self._log.frames} was due")
        numerator, denominator = self._scale
        seconds = pts * numerator / denominator
        self._write(RecordedFrame(index, pts, seconds, shot, tuple(faces)))
        self._log.frame(pts, [face.track for face in faces], shot)

    def track(self, verdict: TrackVerdict) -> None:
        """Write the final verdict on a track, after all frames."""
        self._write(verdict)
        if verdict.name is not None:
            self._names[verdict.track] = verdict.name
        else:
            self._log.forget(verdict.track)

    def flush(self) -> None:
        """Let whoever follows the record see all lines now: nothing more may come for long."""
        self._flush()

    def finish(
        self,
        *,
        dropped: Mapping[str, int] | None = None,
        damage: Mapping[str, int] | None = None,
        complete: bool = True,
    ) -> Summary:
        """Write the summary, whose people go by the final verdicts, and give the record its final name.

        An interrupted run passes `complete=False`: the record ends properly but keeps its partial name.
        """
        people = self._log.presence(self._time_base, self._names)
        summary = Summary(self._log.frames, dict(dropped or {}), dict(damage or {}), people)
        self._write(summary)
        if self._target is not None:
            self._stream.close()
            if complete:
                self._finish(self._target)
        return summary

    def abort(self, *, keep: bool = False) -> Path | None:
        """Stop where it is: remove what was written, or `keep` it under its partial name and return that."""
        if self._target is None:
            return None
        with suppress(OutputError):  # a full disk is what may have led here, and the caller reports that
            self._flush()
        self._stream.close()
        if keep:
            return self.path
        partial_path(self._target).unlink(missing_ok=True)
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._target is not None and not self.closed:
            self.abort()

    def _finish(self, target: Path) -> None:
        self._before_rename(partial_path(target))
        try:
            with writing(target):
                finish_output(partial_path(target), target, self._overwrite)
        except OutputError as error:
            raise OutputError(f"{error}; the record is in {self.path}") from error

    def _write(self, line: Line) -> None:
        data = encode(line)
        try:
            self._waiting.append(line_bytes(data))
        except ValueError:
            where = f"frame {line.index}" if isinstance(line, RecordedFrame) else type(line).__name__
            raise ValueError(f"{where} has a number that is not finite: {data}") from None
        if time.monotonic() - self._flushed > FOLLOW_SECONDS or isinstance(line, Header | Summary):
            self._flush()

    def _flush(self) -> None:
        """Whole lines only, so that a follower never reads half of one."""
        rest = memoryview(b"".join(self._waiting))
        with writing(str(getattr(self._stream, "name", "the record"))):
            while rest:
                rest = rest[self._stream.write(rest) :]
            self._stream.flush()
        self._waiting.clear()
        self._flushed = time.monotonic()


def line_bytes(data: Mapping[str, Any]) -> bytes:
    """A line of a record as it is written: compact JSON in UTF-8, with its line feed.

    Raises:
        ValueError: a number that is not finite.

    Example:
        >>> line_bytes({"type": "note"})
        b'{"type":"note"}\\n'
    """
    text = _JSON.encode(data)
    if not text.isascii() and _UNSAFE.search(text):
        text = _ASCII_JSON.encode(data)
    return text.encode() + b"\n"


def read(path: str | Path, *, partial: bool = False, drawn: bool = False) -> Tracks:
    """Read a whole record.

    Args:
        path: the file.
        partial: accept a record that is still growing or was cut off; an unfinished last line is passed over.
        drawn: leave on every face the name that was drawn on that frame. By default a face bears the final
            verdict on its track, which knows the whole track and not only what was seen when the frame was
            drawn.

    Raises:
        InputError: no such file, not a record, a newer major version, or a line that makes no sense (with its
            number).

    Example:
        >>> for frame in read("mv.tracks.jsonl").frames:                # doctest: +SKIP
        ...     print(frame.time, [face.name for face in frame.faces])
    """
    header: Header | None = None
    frames: list[RecordedFrame] = []
    verdicts: list[TrackVerdict] = []
    summary: Summary | None = None
    for number, line in enumerate(lines(path, partial=partial), 1):
        if isinstance(line, Header) != (number == 1) or summary is not None:
            _refuse(path, number, "the header must come first, once, and nothing after the summary")
        if isinstance(line, Header):
            header = line
        elif isinstance(line, RecordedFrame):
            if line.index != len(frames):
                _refuse(path, number, f"frame {line.index} where frame {len(frames)} was due")
            frames.append(line)
        elif isinstance(line, TrackVerdict):
            verdicts.append(line)
        else:
            summary = line
    if header is None:
        raise InputError(f"{path}: empty; not a tracks file")
    if summary is None and not partial:
        raise InputError(f"{path}: ends without a summary, {_CUT_OFF}")
    if summary is not None and summary.frames != len(frames):
        raise InputError(f"{path}: the summary speaks of {count(summary.frames, 'frame')}, {len(frames)} are there")
    wrong = contradiction(header, frames, verdicts, complete=summary is not None)
    if wrong is not None:
        raise InputError(f"{path}: {wrong}, so it was damaged or wrongly edited")
    if not drawn:
        frames = with_names(frames, {v.track: v.name for v in verdicts})
    return Tracks(header, tuple(frames), tuple(verdicts), summary)


def with_names(frames: Iterable[RecordedFrame], names: Mapping[int, str | None]) -> list[RecordedFrame]:
    """The frames with other names on their faces; tracks that are not in `names` keep theirs."""
    return [
        replace(frame, faces=tuple(replace(f, name=names.get(f.track, f.name)) for f in frame.faces))
        for frame in frames
    ]


def lines(path: str | Path, *, partial: bool = False) -> Iterator[Line]:
    """The lines of a record one after another, for files that need not be held in memory as a whole.

    Lines of kinds that a newer minor version may add are passed over.

    Raises:
        InputError: as `read`.
    """
    empty = 0  # the first line that is
    try:
        with Path(path).open("rb") as file:
            for number, raw in enumerate(file, 1):
                if partial and not raw.endswith(b"\n"):
                    return
                if not raw.strip():  # as editors leave at the end
                    empty = empty or number
                    continue
                if empty:
                    _refuse(path, empty, "it is empty, and others follow")
                try:
                    line = decode(json.loads(raw, parse_constant=_no_constant))
                except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
                    if number > 1 and not raw.endswith(b"\n"):
                        raise InputError(f"{path}: ends in the middle of line {number}, {_CUT_OFF}") from None
                    _refuse(path, number, "it is no JSON")
                except ValueError as error:
                    _refuse(path, number, str(error))
                except (KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
                    _refuse(path, number, f"{type(error).__name__}: {error}")
                if line is not None:
                    yield line
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; a record is made by: iznet label VIDEO") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _refuse(path: str | Path, number: int, why: str) -> NoReturn:
    raise InputError(f"{path}, line {number}: not a line of a tracks file ({why})")
