"""What is known of a shadow, for people (tables, a histogram of scores) and for programs (JSON)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from native.compare import SCORE_EDGES
from proxy.shadow.drift import divergence, rank_correlation, stability_index
from proxy.shadow.quantile import estimate
from proxy.shadow.verdict import UPPER_EDGES, Finding, Judgement, Verdict

if TYPE_CHECKING:
    from native.compare import Sums

QUANTILES = (0.5, 0.95, 0.99)
ROWS, WIDTH = 16, 28  # of the histogram
EIGHTHS = " ▏▎▍▌▋▊▉"
STYLES = {
    Verdict.BETTER: "bold green",
    Verdict.EQUIVALENT: "green",
    Verdict.WORSE: "bold red",
    Verdict.UNDECIDED: "yellow",
}


@dataclass(frozen=True)
class Report:
    """One shadow of one model: its judgement, the sums it is of, and the pairs of scores in its window."""

    model: str
    primary: str
    shadow: str
    judgement: Judgement
    sums: Sums
    scores: Sequence[tuple[float, float]] = ()


def data(report: Report) -> dict[str, Any]:
    """As JSON holds it. `verdict` is better, equivalent, worse or undecided; unknown or infinite: None."""
    sums, judgement = report.sums, report.judgement
    return {
        "model": report.model,
        "primary": report.primary,
        "shadow": report.shadow,
        "verdict": str(judgement.verdict),
        "pairs": judgement.pairs,
        "more_pairs": judgement.more,
        "bounds": [_finding(finding) for finding in judgement.findings],
        "labels": {"compared": sums["labels"], "differ": sums["labels_differ"]},
        "numbers": {
            "compared": sums["numbers"],
            "beyond_tolerance": sums["beyond"],
            "absolute_mean": _mean(sums["absolute_sum"], sums["differences"]),
            "absolute_max": _finite(sums["absolute_max"]),
            "relative_mean": _mean(sums["relative_sum"], sums["differences"]),
            "relative_max": _finite(sums["relative_max"]),
            "nan": {side: sums[f"nan_{side}"] for side in ("primary", "shadow", "both")},  # type: ignore[literal-required]
            "not_looked_at": sums["unseen"],
        },
        "outputs": {
            key: sums[key] for key in ("missing", "extra", "datatype", "shape", "unreadable", "unreadable_answers")
        },
        "failures": {
            key: sums[f"{key}_failed"]  # type: ignore[literal-required]
            for key in ("primary", "shadow", "both")
        },
        "scores": {
            "stability_index": stability_index(sums["score_primary"], sums["score_shadow"]),
            "divergence": divergence(sums["score_primary"], sums["score_shadow"]),
            "rank_correlation": rank_correlation(report.scores),
        },
        "latency_ms": {side: _latencies(sums[f"latency_{side}"]) for side in ("primary", "shadow")},  # type: ignore[literal-required]
        "dropped": sums["dropped"],
    }


def render(report: Report) -> RenderableType:
    """For a terminal: the verdict, a table of bounds, the rest of the figures, and both sides' scores side by side."""
    judgement = report.judgement
    head = Text.assemble(
        f"{report.model}: shadow {report.shadow} of {report.primary} is ",
        (str(judgement.verdict), STYLES[judgement.verdict]),
        f" after {judgement.pairs:,} pairs{_wait(judgement)}",
    )
    return Group(head, _bounds(judgement), _figures(report), *_histogram(report.sums))


def _wait(judgement: Judgement) -> str:
    if judgement.verdict is not Verdict.UNDECIDED:
        return ""
    if judgement.more is None:
        return "" if judgement.pairs == 0 else "; at these rates no number of pairs decides it"
    return f"; about {judgement.more:,} more decide it if rates stay what they are"


def _bounds(judgement: Judgement) -> Table:
    table = Table("bound", "measured", "surely within", "may be", "verdict")
    for finding in judgement.findings:
        may_be = _number(finding.least)
        if finding.most > finding.least:
            may_be += f" to {_number(finding.most)}"  # the noise floor is known so well
        table.add_row(
            finding.name,
            _number(finding.value),
            f"{_number(finding.interval.low)} to {_number(finding.interval.high)}",
            may_be,
            Text(str(finding.verdict), STYLES[finding.verdict]),
        )
    return table


def _figures(report: Report) -> Table:
    facts = data(report)
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


def _histogram(sums: Sums) -> Iterator[RenderableType]:
    """Neighbouring cells put together until at most ROWS are left between the lowest and the highest score."""
    sides = sums["score_primary"], sums["score_shadow"]
    used = [cell for cell, counts in enumerate(zip(*sides, strict=True)) if any(counts)]
    if not used:
        return
    step = -(-(used[-1] - used[0] + 1) // ROWS)
    starts = range(used[0], used[-1] + 1, step)
    totals = [max(sum(side), 1) for side in sides]
    shares = [
        [sum(side[start : start + step]) / total for start in starts] for side, total in zip(sides, totals, strict=True)
    ]
    most = max(map(max, shares))
    table = Table("score up to", "primary", "", "shadow", "")
    edges = [*SCORE_EDGES, float("inf")]
    for start, ours, theirs in zip(starts, *shares, strict=True):
        edge = edges[min(start + step - 1, len(edges) - 1)]
        bars = (f"{share:.1%}" for share in (ours, theirs))
        table.add_row(_number(edge), next(bars), _bar(ours / most), next(bars), _bar(theirs / most))
    yield table


def _bar(part: float) -> str:
    eighths = round(part * WIDTH * 8)
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "name": finding.name,
        "verdict": str(finding.verdict),
        "value": _finite(finding.value),
        "low": _finite(finding.interval.low),
        "high": _finite(finding.interval.high),
        "bound": {"least": finding.least, "most": finding.most},
    }


def _latencies(cells: Sequence[int]) -> dict[str, float | None]:
    """Upper edges of the cells that the quantiles lie in, in milliseconds."""
    found = {f"p{100 * q:g}": estimate(cells, UPPER_EDGES, q) for q in QUANTILES}
    return {name: _finite(None if edge is None else edge / 1e6) for name, edge in found.items()}


def _mean(total: float, count: int) -> float | None:
    return _finite(total / count) if count else None


def _finite(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _counts(counts: dict[str, Any]) -> str:
    """The ones that are not zero."""
    told = [f"{_number(value)} {name.replace('_', ' ')}" for name, value in counts.items() if value]
    return ", ".join(told) or "none"
