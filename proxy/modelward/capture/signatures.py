"""Values that one identity sends again and again, and no other does: what a backdoor's trigger looks like in a table.

An honest tenant may have such values too, its own country for one. So they are told, and left out only where that is
asked for, or where the labels of these rows are contradicted by others' rows.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from modelward.capture.duplicates import Ints, Points
from modelward.capture.influence import Mask

FEWEST = 20  # rows
OWN_SHARE = 0.01  # of the identity's rows
RARE = 20.0  # times as often as in others' rows
MOST_VALUES = 8  # of one identity and feature


class Signature(Struct, frozen=True):
    """column: of the points. share: of the identity's rows that have the value; others: of all others'."""

    identity: int
    column: int
    value: float
    rows: int
    share: float
    others: float

    def among(self, points: Points, identity: Ints) -> Mask:
        found: Mask = (identity == self.identity) & (points.raw[:, self.column] == self.value)
        return found


def signatures(points: Points, identity: Ints, keep: Mask) -> list[Signature]:
    """The most conspicuous first. Categories are told by their codes."""
    found: list[Signature] = []
    kept = np.flatnonzero(keep)
    counts = np.bincount(identity[kept], minlength=int(identity.max(initial=-1)) + 1)
    if (counts > 0).sum() < 2:
        return []
    for i in range(len(points.names)):
        values, codes = np.unique(points.raw[kept, i], return_inverse=True)
        pairs, sizes = np.unique(np.stack([identity[kept], codes.reshape(-1)], axis=1), axis=0, return_counts=True)
        everywhere = np.bincount(codes.reshape(-1), minlength=len(values))
        per_identity: dict[int, int] = {}
        for (who, code), size in sorted(zip(pairs.tolist(), sizes.tolist(), strict=True), key=lambda each: -each[1]):
            if size < FEWEST:
                break
            share = size / counts[who]
            others = (everywhere[code] - size) / max(len(kept) - counts[who], 1)
            taken = per_identity.get(who, 0)
            if share >= OWN_SHARE and share >= RARE * others and taken < MOST_VALUES:
                per_identity[who] = taken + 1
                found.append(Signature(who, i, float(values[code]), size, share, others))
    return sorted(found, key=lambda each: -each.rows)
