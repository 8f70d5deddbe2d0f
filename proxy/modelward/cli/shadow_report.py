"""What is known of a shadow, for a terminal: tables, and a histogram of scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from modelward.cli.text import plain

WIDTH = 28  # of the histogram's longest bar
KINDS = {"normal": "not anomalous", "anomalous": "anomalous", "others": "of all others"}
EIGHTHS = " ▏▎▍▌▋▊▉"
STYLES = {"better": "bold green", "equivalent": "green", "worse": "bold red", "undecided": "yellow"}


def render(facts: Mapping[str, Any]) -> RenderableType:
    """What modelward.shadow.report.data gave: the verdict, tables of bounds, slices and figures, both sides' scores."""
    model, shadow, primary = (plain(facts[name]) for name in ("model", "shadow", "primary"))
    of = f" of {primary}" if primary else ""  # servers that tell no version
    head = Text.assemble(
        f"{model}: shadow {shadow}{of} is ",
        _colored(facts["verdict"]),
        f" after {facts['pairs']:,} pairs",
        _wait(facts),
    )
    return Group(
        head, *_files(facts), _bounds(facts["bounds"]), *_slices(facts["slices"]), _figures(facts), *_bars(facts)
    )


def _files(facts: Mapping[str, Any]) -> Iterator[Text]:
    """Of which files the verdict is."""
    for side in ("shadow", "primary"):
        if digest := facts.get(f"{side}_digest"):
            yield Text(f"{side}: {plain(digest)}")


def _wait(facts: Mapping[str, Any]) -> str:
    if facts["verdict"] != "undecided":
        return ""
    if facts["pairs"] == 0:
        return f"; {facts['warm_up_pairs']:,} of the warm-up are not counted" if facts["warm_up_pairs"] else ""
    if facts["more_pairs"] is None:
        return "; at these rates no number of pairs decides it"
    return f"; about {facts['more_pairs']:,} more decide it if rates stay what they are"


def _colored(verdict: str) -> Text:
    return Text(verdict, STYLES[verdict])


def _bounds(findings: Sequence[Mapping[str, Any]]) -> Table:
    table = Table("bound", "measured", "certainly within", "may be", "verdict")
    for finding in findings:
        least, most, high = finding["bound"]["least"], finding["bound"]["most"], finding["high"]
        may_be = _number(least)
        if most > least:
            may_be += f" to {_number(most)}"  # the noise floor is known so well
        within = f"{_number(finding['low'])} to {'any' if high is None else _number(high)}"
        table.add_row(finding["name"], _number(finding["value"]), within, may_be, _colored(finding["verdict"]))
    return table


def _slices(slices: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    """Those that have pairs, where they are not all the same requests as the whole."""
    used = [each for each in slices if each["pairs"]]
    if {(each["kind"], each["name"]) for each in used} <= {("normal", ""), ("others", "")}:
        return
    table = Table("requests", "pairs", "disagreement", "verdict")
    for each in used:
        words = f"of {plain(each['name'])} ({each['by']})" if each["kind"] == "identity" else KINDS[each["kind"]]
        table.add_row(Text(words), f"{each['pairs']:,}", _number(each["disagreement"]), _colored(each["verdict"]))
    yield table


def _figures(facts: Mapping[str, Any]) -> Table:
    numbers, scores, latency = facts["numbers"], facts["scores"], facts["latency_ms"]
    table = Table("figure", "value")
    rows = [
        ("labels that differ", f"{facts['labels']['differ']:,} of {facts['labels']['compared']:,}"),
        ("numbers beyond the tolerance", f"{numbers['beyond_tolerance']:,} of {numbers['compared']:,}"),
        ("absolute difference", f"{_number(numbers['absolute_mean'])} mean, {_number(numbers['absolute_max'])} most"),
        ("relative difference", f"{_number(numbers['relative_mean'])} mean, {_number(numbers['relative_max'])} most"),
        ("NaN", _counts(numbers["nan"])),
        ("outputs of another form", _counts(facts["outputs"])),
        ("failed", _counts(facts["failures"])),
        ("scores: stability index", _number(scores["stability_index"])),
        ("scores: divergence in nats", _number(scores["divergence"])),
        ("scores: rank correlation", _number(scores["rank_correlation"])),
        *((f"latency of the {side}, ms", _counts(latency[side])) for side in ("primary", "shadow")),
        ("not mirrored", _counts(facts["dropped"])),
    ]
    for row in rows:
        table.add_row(*row)
    return table


def _bars(facts: Mapping[str, Any]) -> Iterator[RenderableType]:
    rows = facts["scores"]["histogram"]
    if not rows:
        return
    most = max(max(row["primary"], row["shadow"]) for row in rows)
    table = Table("score up to", "primary", "", "shadow", "")
    for row in rows:
        cells = [cell for side in ("primary", "shadow") for cell in (f"{row[side]:.1%}", bar(row[side] / most))]
        table.add_row("any" if row["up_to"] is None else _number(row["up_to"]), *cells)
    yield table


def bar(part: float) -> str:
    eighths = round(part * WIDTH * 8)
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _counts(counts: dict[str, Any]) -> str:
    """The ones that are not zero."""
    told = [f"{_number(value)} {name.replace('_', ' ')}" for name, value in counts.items() if value]
    return ", ".join(told) or "none"
