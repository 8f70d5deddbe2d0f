"""Reports: JSON that names the verdict, and a terminal's tables that say the same."""

from __future__ import annotations

import json

import numpy as np
from rich.console import Console

from native import scan
from native.compare import Figures
from proxy.config.shadow import Bounds
from proxy.shadow.report import Report, data, render
from proxy.shadow.verdict import judge


def answer(scores: np.ndarray) -> bytes:
    return scan.reply("m", "1", outputs=[("p", "FP32", [len(scores), 2], scores.astype(np.float32).tobytes())])


def report(pairs: int, shift: float = 0.0, failures: int = 0) -> Report:
    rng = np.random.default_rng(1)
    figures = Figures()
    for _ in range(pairs):
        p = rng.random(4)
        q = np.clip(p + shift, 0.0, 1.0)
        ours, theirs = (answer(np.stack([1 - side, side], axis=1)) for side in (p, q))
        figures.record(ours, theirs, 0.001, 2_000_000, 1_000_000)
    for _ in range(failures):
        figures.fail(False, True)
    sums = figures.sums()
    return Report("fraud", "1", "2", judge(sums, Bounds(latency=1.5)), sums, figures.scores())


def shown(one: Report) -> str:
    console = Console(width=120, file=None, force_terminal=False)
    with console.capture() as capture:
        console.print(render(one))
    return capture.get()


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
    nothing = report(0)
    facts = data(nothing)
    assert (facts["verdict"], facts["more_pairs"], facts["pairs"]) == ("undecided", None, 0)
    assert facts["scores"] == {"stability_index": None, "divergence": None, "rank_correlation": None}
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert "undecided after 0 pairs" in shown(nothing)


def test_an_undecided_shadow_is_told_how_many_pairs_are_missing() -> None:
    early = report(50)
    assert early.judgement.more
    assert data(early)["more_pairs"] == early.judgement.more
    assert f"about {early.judgement.more:,} more decide it" in shown(early)


def test_a_terminal_shows_bounds_figures_and_both_sides_scores() -> None:
    text = shown(report(100, shift=0.1, failures=3))
    for part in ("shadow 2 of 1 is", "disagreement", "errors", "latency", "3 shadow", "score up to", "█"):
        assert part in text
    histogram = text[text.index("score up to") :].splitlines()
    assert 3 <= len(histogram) <= 24


def test_differences_without_end_are_no_numbers_in_json() -> None:
    figures = Figures()
    for _ in range(2):
        big = np.array([1.7e308]), np.array([-1e305])
        figures.record(*(scan.reply("m", outputs=[("y", "FP64", [1], side.tobytes())]) for side in big))
    sums = figures.sums()
    facts = data(Report("m", "1", "2", judge(sums, Bounds()), sums))
    assert facts["numbers"]["absolute_mean"] is None
    assert json.dumps(facts, allow_nan=False)
