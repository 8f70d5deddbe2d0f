"""One metric with its rows, as the modules that name metrics make it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from modelward.telemetry.snapshot import Histogram

Kind = Literal["counter", "gauge", "histogram", "unknown"]


class Family(Struct):
    """One metric. `name` is without _total; each row has a value per label, then the value (Histogram for those)."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    rows: list[tuple[tuple[str, ...], float | Histogram]] = field(default_factory=list)

    def add(self, labels: tuple[str, ...], value: float | Histogram | None) -> None:
        """No row for None, a value that these labels do not have, and for an empty histogram."""
        if value is not None and not (isinstance(value, Histogram) and not value.cumulative[-1]):
            self.rows.append((labels, value))
