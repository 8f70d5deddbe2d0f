"""Models whose endpoints are mostly out of order, told in the log."""

import logging
from collections.abc import Mapping

log = logging.getLogger("modelward.upstream")


class PanicLog:
    """A line where a model's panic begins and one where it ends, at most one for each look and model."""

    def __init__(self) -> None:
        self._before: frozenset[str] = frozenset()

    def take(self, panics: Mapping[str, bool]) -> None:
        """panics: as modelward.upstream.models.UpstreamModels gives them."""
        now = frozenset(model for model, panic in panics.items() if panic)
        for model in sorted(now - self._before):
            text = "model %s: fewer than half of its connected endpoints are in service: all get requests (panic)"
            log.warning(text, model, extra={"fields": {"model": model, "panic": True}})
        for model in sorted(self._before - now):
            text = "model %s: the panic has ended: requests go only to endpoints in service"
            log.info(text, model, extra={"fields": {"model": model, "panic": False}})
        self._before = now
