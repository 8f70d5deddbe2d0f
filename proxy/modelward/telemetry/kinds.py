"""How numbers of several processes become one, by the annotations of their fields (telemetry.merge)."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

# What a gauge is once its process has gone; of two ends in time the earlier one counts, of
# two flags the one that is up.
GAUGE = {"gauge": 0}
GAUGES: dict[str, Mapping[str, int]] = {"gauge": {}}
END = {"gauge": inf, "merge": min}
FLAG = {"gauge": 0, "merge": max}


def _either(a: Mapping[str, str], b: Mapping[str, str]) -> Mapping[str, str]:
    return b or a


def _most(a: Mapping[str, int], b: Mapping[str, int]) -> Mapping[str, int]:
    return {key: max(a.get(key, 0), b.get(key, 0)) for key in {**a, **b}}


MOST: dict[str, object] = {"gauge": {}, "merge": _most}  # of the process with most, by key
SAME: dict[str, object] = {"gauge": {}, "merge": _either}  # whichever process tells it
