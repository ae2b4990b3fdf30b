"""The benchmark of suppression compares like with like; nothing is timed here."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import nms as benchmark


@pytest.mark.parametrize("count", benchmark.COUNTS)
def test_all_contestants_keep_the_same_boxes(count: int) -> None:
    boxes, scores = benchmark.clustered_boxes(count)
    assert boxes.shape == (count, 4)
    assert len(np.unique(scores)) == count, "ties would be a matter of taste"
    answers = {name: call().tolist() for name, call in benchmark.contestants(boxes, scores).items()}
    assert len(answers) == 4
    for answer in answers.values():
        assert answer == answers[benchmark.OURS]
    assert 1 <= len(answers[benchmark.OURS]) <= max(1, count // 4)


def test_the_stored_result_is_complete() -> None:
    result = json.loads(benchmark.RESULT.read_text("utf-8"))
    assert [row["boxes"] for row in result["rows"]] == list(benchmark.COUNTS)
    table = benchmark.table(result)
    assert table.count("\n") == len(benchmark.COUNTS) + 1
    assert "cv2.dnn.NMSBoxes" in table
