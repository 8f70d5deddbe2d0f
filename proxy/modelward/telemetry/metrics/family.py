"""One metric with its rows, as the modules that name metrics make it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from modelward.telemetry.snapshot import Histogram

Kind = Literal["counter", "gauge", "histogram", "unknown"]


@dataclass(slots=True)
class Family:
    """One metric. `name` is without _total; each row has a value per label, then the figure (Histogram for those)."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    rows: list[tuple[tuple[str, ...], float | Histogram]] = field(default_factory=list)

    def add(self, labels: tuple[str, ...], figure: float | Histogram | None) -> None:
        """No row for None, a figure that these labels do not have, and for an empty histogram."""
        if figure is not None and not (isinstance(figure, Histogram) and not figure.cumulative[-1]):
            self.rows.append((labels, figure))
