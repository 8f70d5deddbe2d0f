"""A terminal's tables of a shadow say what its JSON says."""

from __future__ import annotations

from msgspec.structs import replace
from rich.console import Console

from modelward.cli.shadow_report import render
from modelward.shadow.finding import Verdict
from modelward.shadow.report import Report, Slice, data
from tests.proxy.shadow.test_report import report


def shown(one: Report) -> str:
    console = Console(width=120, file=None, force_terminal=False, markup=False)
    with console.capture() as capture:
        console.print(render(data(one)))
    return capture.get()


def test_an_undecided_shadow_is_told_how_many_pairs_are_missing() -> None:
    early = report(50)
    assert early.judgement.more
    assert data(early)["more_pairs"] == early.judgement.more
    assert f"about {early.judgement.more:,} more decide it" in shown(early)


def test_bounds_figures_and_both_sides_scores_are_shown() -> None:
    text = shown(report(100, shift=0.1, failures=3))
    for part in ("shadow 2 of 1 is", "disagreement", "errors", "latency", "3 shadow", "score up to", "█"):
        assert part in text
    assert 3 <= len(text[text.index("score up to") :].splitlines()) <= 24


def test_a_shadow_without_pairs_is_undecided_and_its_warm_up_told() -> None:
    assert "undecided after 0 pairs\n" in shown(report(0))
    assert "undecided after 0 pairs; 40 of the warm-up are not counted" in shown(replace(report(0), warmed=40))


def test_slices_are_shown_where_they_are_not_the_whole() -> None:
    whole = Slice("normal", "", Verdict.WORSE, 9, 0.5), Slice("others", "", Verdict.WORSE, 9, 0.5)
    assert "not anomalous" not in shown(replace(report(9), slices=whole))
    parts = (
        *whole,
        Slice("anomalous", "", Verdict.UNDECIDED, 0, None),
        Slice("identity", "[b]a\x1b", Verdict.WORSE, 3, 1, "key"),
    )
    text = shown(replace(report(9), slices=parts))
    assert "not anomalous" in text
    assert "of [b]a\\x1b (key)" in text
    assert "│ anomalous" not in text


def test_names_reach_the_terminal_as_they_are_and_without_their_control_characters() -> None:
    assert "[red]m: shadow \\x1b[2J of 1 is" in shown(replace(report(1), model="[red]m", shadow="\x1b[2J"))
    assert "fraud: shadow 2 is" in shown(replace(report(1), primary=""))
