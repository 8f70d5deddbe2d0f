"""What the configuration says that models are to keep, for the metrics that alerting rules compare others with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from modelward.config.units import SECOND

if TYPE_CHECKING:
    from modelward.config.model import ModelSettings


class ObjectiveSnapshot(Struct, frozen=True):
    """What a model is to keep: shares, and seconds of one bound of the histogram of its requests."""

    success: float = 0.999
    latency: float | None = None
    in_time: float = 0.99


def objectives(models: Mapping[str, ModelSettings]) -> dict[str, ObjectiveSnapshot]:
    return {name: _objective(settings) for name, settings in models.items()}


def _objective(settings: ModelSettings) -> ObjectiveSnapshot:
    wanted = settings.objective
    latency = None if wanted.latency is None else wanted.latency / SECOND
    return ObjectiveSnapshot(wanted.success, latency, wanted.in_time)
