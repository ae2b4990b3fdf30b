"""The figures of `iznet train eval-detector` in Markdown, from its JSON alone: page, model card and README agree."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from engine.errors import InputError
from train.detector_eval import BOXES, GRID, MAIN, MINIMUM, WIDE

Values = Mapping[str, Any]


NONE = "–"


def number(value: float | None) -> str:
    """Three decimals, or a dash where there was no face to be found.

    Example:
        >>> number(0.5), number(float("nan")), number(None)
        ('0.500', '–', '–')
    """
    return NONE if value is None or math.isnan(value) else f"{value:.3f}"


def table(values: Values) -> list[str]:
    """A line for every detector and size."""
    names = [*(str(m) for m in MINIMUM), WIDE]
    head = ["detector", "longer side", *(f"AP ≥ {m} px" for m in MINIMUM), f"AP ≥ 1/{GRID} of the picture"]
    head += [f"recall at {BOXES} boxes", "precision", "recall", "parameters", "GFLOP"]
    timed = "time" in values
    lines = ["| " + " | ".join([*head, *(["time"] if timed else [])]) + " |"]
    lines.append("|---|" + "---:|" * (len(lines[0].split(" | ")) - 1))
    for row in values["table"]:
        cells = [row["detector"], str(row["size"])]
        for name in names:
            interval = row["interval"].get(name)
            known = interval and number(row["ap"][name]) != NONE
            cells.append(number(row["ap"][name]) + (f" ({interval[0]:.3f}–{interval[1]:.3f})" if known else ""))
        cells += [number(row[key]) for key in (f"recall_of_{BOXES}_boxes", "precision", "recall")]
        cells += [f"{row['parameters_m']:.2f} M", f"{row['gflop']:.2f}"]
        if timed:
            taken = values["time"]["openvino"].get(row["detector"])
            cells.append(f"{taken['ratio']:.2f} ×" if taken and row["size"] == values["table"][0]["size"] else "")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def legend(values: Values) -> str:
    """What the table's columns mean."""
    faces = values["table"][0]["faces"]
    counted = ", ".join(f"{faces[str(m)]} of ≥ {m} px" for m in MINIMUM)
    text = (
        f"Average precision (AP) at IoU 0.5 on {values['data']}: {values['pictures']} pictures, {counted} and "
        f"{faces[WIDE]} of 1/{GRID} of the picture's longer side (shorter side of the face, with the longer side of "
        "the picture at the size in the table; ignored faces, and faces and finds that are smaller, are neither hit "
        "nor miss). In brackets: 95 % bootstrap intervals over pictures. "
        f"Recall at {BOXES} boxes: of the {BOXES} best boxes of a picture, whatever their scores. "
        f"Precision and recall: at the default threshold ({values['threshold']:g}; 0.5 for the others), faces of "
        f"{MAIN} px and more. GFLOP: two for each multiply-add, at 640×384."
    )
    if "time" in values:
        text += (
            f" Time: CPU time for one picture of 640×384 against {values['time']['base']} in OpenVINO f32, one thread, "
            f"turns taken, median of {values['time']['rounds']} rounds."
        )
    return text


def close_up_lines(values: Values) -> list[str]:
    """A line for every kind of close-up, a column for every detector."""
    figures = values["close_ups"]
    names = list(figures)
    kinds = figures[names[0]]
    lines = ["| close-ups | crops | " + " | ".join(names) + " |", "|---|" + "---:|" * (len(names) + 1)]
    for kind, first in kinds.items():
        cells = [f"{figures[name][kind]['recall']:.3f}" for name in names]
        lines.append(f"| {kind} | {first['crops']} | " + " | ".join(cells) + " |")
    return lines


def landmark_lines(values: Values) -> list[str]:
    """A line for every bin: number of faces, mean and median error in % of the eye distance."""
    figures = values["landmarks"]
    names = list(figures)
    lines = [
        "| faces | " + " | ".join(f"{name}: number | mean % | median %" for name in names) + " |",
        "|---|" + "---:|" * (3 * len(names)),
    ]
    for kind in dict.fromkeys(kind for name in names for kind in figures[name]):
        cells = []
        for name in names:
            part = figures[name].get(kind)
            if part is None:
                cells += ["", "", ""]
            else:
                cells += [str(part["faces"]), f"{100 * part['mean']:.1f}", f"{100 * part['median']:.1f}"]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return lines


def clip_line(values: Values) -> str:
    """What became of the finds on the clips."""
    c = values["clips"]
    precision = "–" if c["precision"] is None else f"{c['precision']:.3f}"
    return (
        f"{c['finds']} finds on {c['frames']} frames: {c['confirmed_by_teachers']} confirmed by the teachers, "
        f"{c['faces_by_eye']} faces by eye, {c['wrong']} wrong, {c['not_looked_at']} not looked at (counted as wrong): "
        f"precision {precision}. Of {c['sure_faces']} faces of 24 px and more that two teachers are sure of, "
        f"{c['missed']} are missed."
    )


def time_lines(values: Values) -> list[str]:
    """CPU milliseconds and ratios of every network on both runtimes."""
    time = values["time"]
    lines = [
        "| network, one picture of 640×384 | OpenVINO, ms | ratio | ONNX Runtime, ms | ratio |",
        "|---|---:|---:|---:|---:|",
    ]
    for name in dict.fromkeys([*time["openvino"], *time["onnxruntime"]]):
        cells = []
        for backend in ("openvino", "onnxruntime"):
            taken = time[backend].get(name)
            cells += [f"{taken['ms']:.1f}", f"{taken['ratio']:.2f}"] if taken else ["–", "–"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def sections(values: Values) -> list[str]:
    """Everything below the table."""
    text: list[str] = []
    if "close_ups" in values:
        text += [
            "**Close-ups** (crops in which the face is 0.5 to 1.4 times as tall as the frame, anywhere in it, at least "
            "70 % of its box inside; recall at the default threshold, IoU 0.5). Photos were learnt from with "
            "pseudo-labels; labelled pictures and clips were not:",
            "",
            *close_up_lines(values),
            "",
        ]
    if "landmarks" in values:
        text += [
            "**Landmarks**, mean distance to the mean of YuNet-n's and CenterFace's points in % of the distance "
            "between the eyes. Clean: 48 px and more, the two within 8 % of each other on average, nose within 20 % of "
            "the middle; unmasked pictures of the same set and clips, none of them learnt from:",
            "",
            *landmark_lines(values),
            "",
        ]
    if "clips" in values:
        text += ["**Video clips**, at the default threshold. " + clip_line(values), ""]
    if "time" in values:
        simulated = (
            " The bf16 row of the table was computed with simulated bfloat16 (this CPU has none), so it has no time."
            if values.get("bf16_simulated")
            else ""
        )
        text += [
            "**Time**, one thread, f32 unless the name says otherwise, CPU time, turns taken, median of "
            f"{values['time']['rounds']} rounds. SCRFD-500M itself was not at hand: its published shape with random "
            f"weights was timed.{simulated}",
            "",
            *time_lines(values),
            "",
        ]
    return text


def page(values: Values) -> str:
    """The page in `benchmarks/`."""
    made = f"{values['detector']}, sha256 `{values['sha256'][:16]}…`, default threshold {values['threshold']:g}."
    lines = ["# Face detection", "", made, "", legend(values), "", *table(values), "", *sections(values)]
    return "\n".join(lines)


def summary(values: Values) -> str:
    """One sentence for the README's table."""
    row = values["table"][0]
    text = (
        f"AP at IoU 0.5 on {values['data']} at {row['size']}: {row['ap']['16']:.3f} for faces of 16 px and more, "
        f"{row['ap']['8']:.3f} from 8 px, {row['ap']['32']:.3f} from 32 px"
    )
    rival = next((r for r in values["table"] if r["detector"] == "YuNet-n"), None)
    if rival is not None:
        text += f" (YuNet-n: {rival['ap']['16']:.3f}, {rival['ap']['8']:.3f}, {rival['ap']['32']:.3f})"
    if "close_ups" in values:
        text += f". Close-ups: recall {values['close_ups'][values['detector']]['all']['recall']:.3f}"
    return text


def replaced(text: str, mark: str, new: str, place: str) -> str:
    """`text` with what lies between `<!-- mark: begin -->` and `<!-- mark: end -->` replaced.

    Raises:
        InputError: the marks are not there, once each; `place` says where.

    Example:
        >>> replaced("a <!-- x: begin -->old<!-- x: end --> b", "x", "new", "page")
        'a <!-- x: begin -->new<!-- x: end --> b'
    """
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise InputError(f"{place}: lacks the marks {begin} and {end}, once each and in this order")
    return text[: text.index(begin) + len(begin)] + new + text[text.index(end) :]


def card_head(values: Values) -> str:
    """What the network is, for its model card."""
    row = values["table"][0]
    return (
        f"{values['detector']}: {row['parameters_m']:.2f} M parameters, {row['gflop'] / 2:.2f} G multiply–adds at "
        f"640×384. sha256 `{values['sha256']}`."
    )


def card_use(values: Values) -> str:
    """The default threshold and precision, and what they mean."""
    row = values["table"][0]
    rows = {r["detector"]: r for r in values["table"] if r["size"] == row["size"]}
    text = (
        f"- Default threshold {values['threshold']:g} (`iznet.threshold`): precision {row['precision']:.3f} and recall "
        f"{row['recall']:.3f} on {values['data']} at {row['size']} for faces of 16 px and more.\n"
        "- Default precision `auto`: INT8 for videos in OpenVINO; else bf16 on CPUs that have it, and f32."
    )
    costs = []
    for name in ("bf16", "INT8"):
        other = rows.get(f"{values['detector']} {name}")
        if other is not None:
            costs.append(f"{name} {other['ap']['16'] - row['ap']['16']:+.4f} ({other['ap']['16']:.3f})")
    if costs:
        text += f" Against f32 ({row['ap']['16']:.3f}), AP ≥ 16 px changes by: {', '.join(costs)}."
    own = values.get("time", {}).get("openvino", {}).get(values["detector"])
    int8 = values.get("time", {}).get("openvino", {}).get(f"{values['detector']} INT8")
    if own is not None and int8 is not None:
        text += f" INT8 takes {int8['ratio'] / own['ratio']:.2f} × the time of f32 in OpenVINO here."
    text += (
        " `iznet train quantize-detector --data train.zip -o engine/models/detector.int8.onnx --overwrite` makes the "
        "INT8 file beside this one anew; whoever replaces the network runs it too."
    )
    return text


def card_figures(values: Values) -> str:
    """Legend, table and everything below it."""
    return "\n".join([legend(values), "", *table(values), "", *sections(values)]).rstrip()
