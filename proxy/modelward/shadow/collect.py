"""What is known of a model's shadows at this moment: the stats of all workers, judged by the configured bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from modelward.config.shadow import Bounds, Shadow
from modelward.shadow.finding import pairs
from modelward.shadow.report import Report, Slice
from modelward.shadow.verdict import judge, verdict_of

if TYPE_CHECKING:
    from modelward_native.shadow.shadows import Slices
    from modelward_native.shadow.stats import Stats, Sums

Key = tuple[str, str, str]  # model, version of the primary, name of the shadow


def reports(counted: Mapping[Key, Slices], shadows: Sequence[Shadow], answering: str) -> list[Report]:
    """One for each configured shadow of the version that is answering; and of others where anything was counted.

    counted: shadow.shadows.shadows of one model. answering: the version with most of its requests, which comes first.
    Takes some ten milliseconds for each: for a thread.
    """
    versions = sorted({primary for _, primary, _ in counted}, key=lambda version: (version != answering, version))
    return [
        _report(key, counted, shadow.bounds)
        for version in versions
        for shadow in shadows
        for key in counted
        if key[1:] == (version, shadow.name) and (version == answering or _has_any(counted[key]))
    ]


def _has_any(slices: Slices) -> bool:
    sums = slices.total.sums()
    return bool(slices.warmed or pairs(sums) or any(sums["dropped"].values()))


def _report(key: Key, counted: Mapping[Key, Slices], bounds: Bounds) -> Report:
    """A side's noise is that of the same side, for a model may agree with itself on usual requests alone; that of
    callers, of whom the floor may have few pairs, is the whole's."""
    model, primary, name = key
    itself = name == primary
    own, floor = counted[key], None if itself else counted.get((model, primary, primary))
    noise = (
        {side: getattr(floor, side).sums() for side in ("total", "normal", "anomalous")} if floor is not None else {}
    )

    def part(kind: str, stats: Stats, noise: Sums | None, name: str = "", by: str = "") -> Slice:
        sums = stats.sums()
        share = sums["disagreement"] / sums["compared"] if sums["compared"] else None
        return Slice(kind, name, verdict_of(sums, bounds, floor=noise, itself=itself), pairs(sums), share, by)

    sums, of_all = own.total.sums(), noise.get("total")
    slices = [
        part("normal", own.normal, noise.get("normal")),
        part("anomalous", own.anomalous, noise.get("anomalous")),
        *(part("identity", stats, of_all, name, by) for (by, name), stats in own.identities.items()),
        part("others", own.others, of_all),
    ]
    callers = [stats.sums() for stats in own.parts.values()]
    judgement = judge(sums, bounds, floor=of_all, itself=itself, callers=callers)
    return Report(model, primary, name, judgement, sums, own.scores, tuple(slices), own.warmed)
