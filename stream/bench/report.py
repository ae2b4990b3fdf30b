"""The figures of a measurement as tables, for a terminal and for a page alike (Markdown)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from engine.wording import count

Row = Sequence[str]


def text(result: Mapping[str, Any]) -> str:
    """Everything that was measured."""
    return "\n\n".join([headline(result), *(table(*part) for part in _parts(result))])


def headline(result: Mapping[str, Any]) -> str:
    """What was measured, on what, and what came of it."""
    clip, settings, host = result["clip"], result["settings"], result["machine"]
    label, surplus, ratio = result["label"], result["surplus_cpu_ms_per_frame"], result["ratios"]
    start, queue = result["startup"], label["latency"]
    to_transcode, bare = ratio["label_to_transcode"], ratio["label_without_startup_to_transcode"]
    threads = settings["engine"].get("threads", "as by default")
    alone = (
        f"The record alone takes {ratio['record_to_decode']['wall']:.2f} × the time of decoding "
        f"({result['baselines']['decode']}). "
        if "record_to_decode" in ratio
        else ""
    )
    return (
        f"{count(clip['frames'], 'frame')} of {clip['name']} ({clip['width']}x{clip['height']}, {clip['codec']}), "
        f"{settings['encoder']} {settings['preset']} crf {settings['crf']:g} on both sides, "
        f"threads of the networks: {threads}; medians of {count(settings['repeats'], 'turn')} on {host['cpu']}, "
        f"{count(host['cpus'], 'CPU')}, load {host['load_before']} before.\n\n"
        f"Labelling takes **{to_transcode['wall']:.2f} ×** the time and **{to_transcode['cpu']:.2f} ×** the CPU of the "
        f"plain transcode ({result['baselines']['transcode']}); {bare['wall']:.2f} × and {bare['cpu']:.2f} × without "
        f"its start of {start['wall_seconds']:.1f} s. {alone}"
        f"CPU-ms a frame beyond the transcode: {surplus['total']:.2f}, of which start-up "
        f"{surplus['total'] - surplus['without_startup']:.2f}, networks {surplus['networks']:.2f}, scaler "
        f"{surplus['scaler']:.2f}, the rest {surplus['rest']:.2f}. "
        f"First frame encoded {label['first_frame_seconds']:.1f} s after the start; at most "
        f"{result['commands']['iznet label']['peak_mb']:.0f} MB; {count(label['dropped'], 'frame')} dropped. "
        f"From decoding to record: p50 {queue['p50_ms']:.0f} ms, p95 {queue['p95_ms']:.0f}, p99 {queue['p99_ms']:.0f}."
    )


def _parts(result: Mapping[str, Any]) -> Iterator[tuple[Row, Iterable[Row]]]:
    yield (
        ("command", "CPU-ms a frame", "frames a second", "peak MB"),
        [
            (f"`{name}`", f"{c['cpu_ms_per_frame']:.2f}", f"{c['frames_per_second']:.0f}", f"{c['peak_mb']:.0f}")
            for name, c in result["commands"].items()
        ],
    )
    yield (
        ("stage of `iznet label`", "calls", "CPU-ms a frame", "wall ms: p50", "p95", "p99", "first after s"),
        [
            (
                *(name, f"{s['calls']:.0f}", f"{s['cpu_ms_per_frame']:.3f}"),
                *(f"{s[f'p{p}_ms']:.2f}" for p in (50, 95, 99)),
                f"{s['first_after']:.2f}",
            )
            for name, s in result["label"]["stages"].items()
        ],
    )
    yield (
        ("network", "inferences a frame", "batch", "CPU-ms an inference", "CPU-ms a frame"),
        [
            (
                *(name, f"{n['inferences_per_frame']:.3f}", f"{result['label']['batches'].get(name, 1):.1f}"),
                *(f"{n['cpu_ms_per_inference']:.2f}", f"{n['cpu_ms_per_frame']:.2f}"),
            )
            for name, n in result["networks"].items()
        ],
    )
    yield (
        ("queue", "room", "filled to: mean", "most", "waited to put, ms", "to take, ms"),
        [
            (
                *(name, f"{q['capacity']:.0f}", f"{q['depth_mean']:.1f}", f"{q['depth_max']:.0f}"),
                *(f"{q['put_wait_ms']:.0f}", f"{q['take_wait_ms']:.0f}"),
            )
            for name, q in result["label"]["queues"].items()
        ],
    )


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What changed from one result to another, command by command and stage by stage; CPU-ms a frame and ratios.

    A stage that only one of them has counts as nothing in the other; a command that only one of them ran is left out.
    """
    rows = [
        _change(f"`{name}`", *(result["commands"][name]["cpu_ms_per_frame"] for result in (old, new)))
        for name in old["commands"]
        if name in new["commands"]
    ]
    for name in dict.fromkeys([*old["label"]["stages"], *new["label"]["stages"]]):
        a, b = (result["label"]["stages"].get(name, {}).get("cpu_ms_per_frame", 0.0) for result in (old, new))
        rows.append(_change(f"stage {name}", a, b))
    rows += [
        _change(f"{name} ({kind})", old["ratios"][name][kind], new["ratios"][name][kind])
        for name in old["ratios"]
        if name in new["ratios"]
        for kind in ("wall", "cpu")
    ]
    notes = [
        f"Not the same {what}: {key} {old[what].get(key)} then, {new[what].get(key)} now."
        for what in ("clip", "settings", "machine")
        for key in dict.fromkeys([*old[what], *new[what]])
        if key != "load_before" and old[what].get(key) != new[what].get(key)
    ]
    return "\n".join([*notes, *([""] if notes else []), table(("", "before", "now", "change"), rows)])


def _change(name: str, before: float, now: float) -> Row:
    change = f"{now / before - 1:+.1%}" if before > 0 else "new" if now else "–"
    return name, f"{before:.3f}", f"{now:.3f}", change


def table(head: Row, rows: Iterable[Row]) -> str:
    """A Markdown table whose columns are as wide as what stands in them, so that it is one on a terminal too."""
    lines = [head, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]

    def row(cells: Row) -> str:
        padded = [c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
        return f"| {' | '.join(padded)} |"

    rule = [f":{'-' * max(2, w - 1)}" if i == 0 else f"{'-' * max(2, w - 1)}:" for i, w in enumerate(widths)]
    return "\n".join([row(head), f"| {' | '.join(rule)} |", *(row(line) for line in lines[1:])])
