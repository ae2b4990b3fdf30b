"""Runs labellings that are to be killed, each in a process of its own: `python -m tests.stream.resume_driver`.

Everything is imported once and every run is a fork, so that a run begins within milliseconds. Each line on stdin is a
run: `{"source": …, "output": …, "gallery": …, "detector": …, "embedder": …, "resume": true}`, and when to kill it:
`kill_after` seconds, or before change number `die_at` of the disk. The answer is a line
`{"status": …, "seconds": …, "changes": …}`.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from engine.detector import Detector
from engine.embedder import Embedder
from stream import label_video, segments

PER_SEGMENT = 12


def main() -> None:
    for line in sys.stdin:
        run: dict[str, Any] = json.loads(line)
        kill_after, die_at = run.pop("kill_after", None), run.pop("die_at", None)
        reading, writing = os.pipe()
        started = time.perf_counter()
        child = os.fork()
        if child == 0:
            os.close(reading)
            _child(run, die_at, writing)
        os.close(writing)
        if not select.select([reading], [], [], kill_after)[0]:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        seconds = time.perf_counter() - started
        with os.fdopen(reading) as answer:
            changes = int(answer.read() or 0)
        ended = {"status": os.waitstatus_to_exitcode(status), "seconds": seconds, "changes": changes}
        print(json.dumps(ended), flush=True)


def _child(run: dict[str, Any], die_at: int | None, writing: int) -> NoReturn:
    status = 1
    try:
        changes = _count_changes(Path(run["output"]).parent, die_at)
        _label(**run)
        os.write(writing, str(len(changes)).encode())
        status = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(status)


def _label(*, source: str, output: str, gallery: str, detector: str, embedder: str, **options: Any) -> None:
    segments.FRAMES_PER_SEGMENT = PER_SEGMENT
    label_video(
        source,
        output,
        gallery=gallery,
        detector=Detector.open(Path(detector), threads=1),
        embedder=Embedder.open(Path(embedder), threads=1),
        lookahead=0.5,
        **options,
    )


def _count_changes(folder: Path, die_at: int | None) -> list[str]:
    """Count the changes to `folder`, not what a library keeps elsewhere; die before number `die_at`."""
    seen: list[str] = []

    def counting(place: Any, name: str) -> None:
        real: Callable[..., Any] = getattr(place, name)

        def counted(path: Any, *args: Any, **kwargs: Any) -> Any:
            if folder in (folder / path).parents:
                if len(seen) == die_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                seen.append(name)
            return real(path, *args, **kwargs)

        setattr(place, name, counted)

    counting(os, "replace")
    counting(os, "unlink")
    counting(os, "rmdir")
    return seen


if __name__ == "__main__":
    main()
