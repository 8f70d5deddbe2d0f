"""Where training rows lie: standardisation, the space where distances are measured, and the rows in cells.

The score of a row is the weighted mean distance to its nearest training rows. modelward.score.choice says in which
space and with which weights; modelward.score.views is one of the spaces; modelward.score.cells finds the nearest rows.

Sources: k-nearest-neighbour outlier score, Ramaswamy et al. (2000) and Angiulli and Pizzuti (2002).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from msgspec.structs import replace

from modelward.score import cells, choice, views
from modelward.score.cells import Cells
from modelward.score.choice import Choice
from modelward.score.views import Views

# A feature whose deviation is below this part of its mean is constant up to rounding: doubles hold 2e-16.
CONSTANT = 1e-13
# A value farther outside the trained range than this many widths of the range is one no training row could have had.
RANGE_MARGIN = 16.0

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]


class Geometry(Struct, frozen=True):
    """A fitted geometry of f features in d dimensions.

    mean, scale (f,): a raw value v becomes (v - mean) / scale. low, high (f,): standardised bounds, outside of which a
    value counts as out of range. views: map standardised rows to d = 2 f dimensions; None where distances are measured
    between standardised rows. cells: the training rows there. weights (k,): of the distances to the k nearest training
    rows, the nearest first.
    """

    mean: Doubles
    scale: Doubles
    low: Floats
    high: Floats
    views: Views | None
    cells: Cells
    weights: Doubles

    @property
    def dimensions(self) -> int:
        return len(self.mean) * (1 if self.views is None else 2)


def choose(rows: Doubles, rng: np.random.Generator) -> Choice:
    """The choice for raw, finite training rows (n, f)."""
    return choice.choose(_standardised(rows, *standardisation(rows)), rng)


def fit(rows: Doubles, chosen: Choice, rng: np.random.Generator, part: float = 1.0) -> Geometry:
    """Geometry of raw, finite training rows (n, f). part: of the cells that it may have."""
    mean, scale = standardisation(rows)
    z = _standardised(rows, mean, scale)
    low, high = _range(z.min(axis=0), z.max(axis=0))
    fitted = views.fit(z, rng) if chosen.space == choice.TWO_VIEWS else None
    mapped = z if fitted is None else fitted.map(z)
    found = cells.fit(mapped, max(1, int(part * cells.most(mapped.shape[1]))), rng)
    return Geometry(mean, scale, low, high, fitted, found, np.array(choice.WEIGHTS[chosen.weighting]))


def widened(shape: Geometry, rows: Doubles) -> Geometry:
    """The geometry with bounds that allow for raw rows (n, f) which it was not fitted on."""
    least, most = ((extreme - shape.mean) / shape.scale for extreme in (rows.min(axis=0), rows.max(axis=0)))
    low, high = _range(least.astype(np.float32), most.astype(np.float32))
    return replace(shape, low=low, high=high)


def _range(least: Floats, most: Floats) -> tuple[Floats, Floats]:
    margin = np.float32(RANGE_MARGIN) * np.where(most > least, most - least, np.float32(1.0))
    low: Floats = least - margin
    high: Floats = most + margin
    return low, high


def standardisation(rows: Doubles) -> tuple[Doubles, Doubles]:
    """Mean and scale (f,) of rows (n, f). The scale is the standard deviation; a constant feature's is the size of
    its value, or 1 for zero, so that a change is measured against the value itself."""
    mean = rows.mean(axis=0)
    deviation = rows.std(axis=0)
    size = np.abs(mean)
    constant = deviation <= CONSTANT * size
    return mean, np.where(constant, np.where(size > 0.0, size, 1.0), deviation)


def _standardised(rows: Doubles, mean: Doubles, scale: Doubles) -> Floats:
    return ((rows - mean) / scale).astype(np.float32)
