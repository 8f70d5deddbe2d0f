"""Reports as JSON, which names the verdict and what it follows from."""

from __future__ import annotations

import json

import numpy as np
import pytest
from msgspec.structs import replace

from modelward.config.shadow import Bounds
from modelward.shadow.finding import Verdict
from modelward.shadow.report import Report, Slice, data
from modelward.shadow.verdict import judge
from modelward_native.shadow.stats import Stats
from modelward_native.testing import scan


def answer(scores: np.ndarray) -> bytes:
    return scan.reply("m", "1", outputs=[("p", "FP32", [len(scores), 2], scores.astype(np.float32).tobytes())])


def report(pairs: int, shift: float = 0.0, failures: int = 0) -> Report:
    rng = np.random.default_rng(1)
    figures = Stats()
    for _ in range(pairs):
        p = rng.random(4)
        q = np.clip(p + shift, 0.0, 1.0)
        ours, theirs = (answer(np.stack([1 - side, side], axis=1)) for side in (p, q))
        figures.record(ours, theirs, 0.001, 2_000_000, 1_000_000)
    for _ in range(failures):
        figures.fail(False, True)
    sums = figures.sums()
    return Report("fraud", "1", "2", judge(sums, Bounds(latency=1.5)), sums, figures.scores())


def test_a_shadow_that_is_worse_is_told_so_with_its_figures() -> None:
    facts = data(report(400, shift=0.2))
    assert facts["verdict"] == "worse"
    assert facts["bounds"][0]["name"] == "disagreement"
    assert facts["bounds"][0]["low"] > 0.01
    assert 0 < facts["labels"]["differ"] < facts["labels"]["compared"] == 1600
    assert 0.15 < facts["numbers"]["absolute_mean"] <= facts["numbers"]["absolute_max"] < 0.21
    assert facts["scores"]["rank_correlation"] > 0.9
    assert facts["scores"]["stability_index"] > 0.1
    assert facts["latency_ms"]["primary"]["p50"] == 2.0
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts


def test_a_shadow_of_which_nothing_is_known_is_undecided_everywhere() -> None:
    facts = data(report(0))
    assert (facts["verdict"], facts["more_pairs"], facts["pairs"]) == ("undecided", None, 0)
    assert facts["scores"] == {
        "stability_index": None, "divergence": None, "rank_correlation": None, "histogram": [],
    }  # fmt: skip
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts


def test_differences_without_end_are_no_numbers_in_json() -> None:
    figures = Stats()
    for _ in range(2):
        big = np.array([1.7e308]), np.array([-1e305])
        figures.record(*(scan.reply("m", outputs=[("y", "FP64", [1], side.tobytes())]) for side in big))
    sums = figures.sums()
    facts = data(Report("m", "1", "2", judge(sums, Bounds()), sums))
    assert facts["numbers"]["absolute_mean"] is None
    assert json.dumps(facts, allow_nan=False)


def test_the_histogram_holds_all_scores_of_both_sides_in_a_few_rows() -> None:
    rows = data(report(200, shift=0.1))["scores"]["histogram"]
    assert 3 <= len(rows) <= 16
    assert [row["up_to"] for row in rows] == sorted(row["up_to"] for row in rows)
    for side in ("primary", "shadow"):
        assert sum(row[side] for row in rows) == pytest.approx(1.0)
    figures = Stats()
    figures.record(*(scan.reply("m", outputs=[("y", "FP64", [1], np.array([1e300]).tobytes())]) for _ in range(2)))
    (beyond,) = data(Report("m", "1", "2", judge(figures.sums(), Bounds()), figures.sums()))["scores"]["histogram"]
    assert beyond == {"up_to": None, "primary": 1.0, "shadow": 1.0}


def test_slices_and_pairs_of_the_warm_up_are_told() -> None:
    part = Slice("identity", "team-a", Verdict.EQUIVALENT, 7, 0.25, "token")
    facts = data(replace(report(1), slices=(part,), warmed=100))
    assert facts["warm_up_pairs"] == 100
    assert facts["slices"] == [
        {"kind": "identity", "name": "team-a", "verdict": "equivalent", "pairs": 7, "disagreement": 0.25, "by": "token"}
    ]
