"""What is known of a shadow, as JSON holds it: for programs, and for tables."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from modelward.shadow.drift import divergence, rank_correlation, stability_index
from modelward.shadow.finding import Finding, Verdict
from modelward.shadow.quantile import estimate
from modelward.shadow.verdict import UPPER_EDGES, Judgement
from modelward_native.shadow.sketch import SCORE_EDGES

if TYPE_CHECKING:
    from modelward_native.shadow.stats import Sums

QUANTILES = (0.5, 0.95, 0.99)
ROWS = 16  # of the histogram


class Slice(Struct, frozen=True):
    """A part of a shadow's pairs: `normal` or `anomalous` requests, those of the `identity` called `name`, or those of
    all `others`. by: how that name was proved: certificate, token or key. disagreement: the mean over its pairs, None
    where there are none."""

    kind: str
    name: str
    verdict: Verdict
    pairs: int
    disagreement: float | None
    by: str = ""


class Report(Struct, frozen=True):
    """One shadow of one model: its judgement, the sums it is of, the pairs of scores in its windows, and its slices,
    each judged as if it were the whole. warmed: pairs of the warm-up, which are in no sum."""

    model: str
    primary: str
    shadow: str
    judgement: Judgement
    sums: Sums
    scores: Sequence[tuple[float, float]] = ()
    slices: Sequence[Slice] = ()
    warmed: int = 0


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
        "warm_up_pairs": report.warmed,
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
            "histogram": _histogram(sums),
        },
        "latency_ms": {side: _latencies(sums[f"latency_{side}"]) for side in ("primary", "shadow")},  # type: ignore[literal-required]
        "dropped": sums["dropped"],
        "slices": [_slice(each) for each in report.slices],
    }


def _histogram(sums: Sums) -> list[dict[str, Any]]:
    """Both sides' shares of scores. Neighbouring cells are put together until at most ROWS are left between the lowest
    and the highest score. up_to: the upper edge, None where there is none."""
    sides = sums["score_primary"], sums["score_shadow"]
    used = [cell for cell, counts in enumerate(zip(*sides, strict=True)) if any(counts)]
    if not used:
        return []
    step = -(-(used[-1] - used[0] + 1) // ROWS)
    totals = [max(sum(side), 1) for side in sides]
    rows = []
    for start in range(used[0], used[-1] + 1, step):
        ours, theirs = (sum(side[start : start + step]) / total for side, total in zip(sides, totals, strict=True))
        last = start + step - 1
        rows.append(
            {"up_to": SCORE_EDGES[last] if last < len(SCORE_EDGES) else None, "primary": ours, "shadow": theirs}
        )
    return rows


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "name": finding.name,
        "verdict": str(finding.verdict),
        "value": _finite(finding.value),
        "low": _finite(finding.interval.low),
        "high": _finite(finding.interval.high),
        "bound": {"least": finding.least, "most": finding.most},
    }


def _slice(each: Slice) -> dict[str, Any]:
    return {
        "kind": each.kind,
        "name": each.name,
        "by": each.by,
        "verdict": str(each.verdict),
        "pairs": each.pairs,
        "disagreement": each.disagreement,
    }


def _latencies(cells: Sequence[int]) -> dict[str, float | None]:
    """Upper edges of the cells that the quantiles lie in, in milliseconds."""
    found = {f"p{100 * q:g}": estimate(cells, UPPER_EDGES, q) for q in QUANTILES}
    return {name: _finite(None if edge is None else edge / 1e6) for name, edge in found.items()}


def _mean(total: float, count: int) -> float | None:
    return _finite(total / count) if count else None


def _finite(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None
