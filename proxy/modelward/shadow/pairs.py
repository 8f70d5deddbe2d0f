"""What a verdict on a shadow is made of, of one server or added up over several."""

from __future__ import annotations

from collections.abc import Mapping
from operator import add
from typing import TYPE_CHECKING, Any, cast

from msgspec import Struct

if TYPE_CHECKING:
    from modelward_native.shadow.stats import Sums

COUNTS = ("compared", "primary_failed", "shadow_failed", "both_failed")
LATENCIES = ("latency_primary", "latency_shadow")


class Pairs(Struct, frozen=True):
    """total: of all pairs. floor: of the primary's own version as a shadow, None where it is none. callers: of pairs
    by part of the callers. files: digests of both versions' files: pairs of other files are not added."""

    total: Sums
    floor: Sums | None
    callers: Mapping[int, Sums]
    files: str

    def __add__(self, other: Pairs) -> Pairs:
        floor = self.floor if other.floor is None else other.floor
        if self.floor is not None and other.floor is not None:
            floor = both(self.floor, other.floor)
        callers = {**self.callers}
        for part, sums in other.callers.items():
            callers[part] = both(callers[part], sums) if part in callers else sums
        return Pairs(both(self.total, other.total), floor, callers, self.files)


def essence(sums: Mapping[str, Any]) -> Sums:
    """Of sums over pairs, what verdicts read."""
    return cast("Sums", {name: sums[name] for name in (*COUNTS, "disagreement", *LATENCIES)})


def both(one: Sums, other: Sums) -> Sums:
    a, b = cast("Mapping[str, Any]", one), cast("Mapping[str, Any]", other)
    found: dict[str, Any] = {name: a[name] + b[name] for name in (*COUNTS, "disagreement")}
    found |= {name: [*map(add, a[name], b[name])] for name in LATENCIES}
    return cast("Sums", found)
