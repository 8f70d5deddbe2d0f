"""What happens in the data plane, told in the log: by each kind of event a few lines, however often it happens."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from modelward.models.opening import OpenVersion
from modelward.models.output_log import OutputLog
from modelward.score.events import AnomalyLog
from modelward.telemetry.close_reasons import CloseReasonLog
from modelward.upstream.faults import FaultLog
from modelward.upstream.panic import PanicLog
from modelward_native.backend.pool import Endpoint
from modelward_native.request.server import Server


class EventLog:
    """Of one process. Anomalies name models of the generation that is served: they are taken before it changes."""

    def __init__(self) -> None:
        self.anomalies = AnomalyLog()
        self._outputs = OutputLog()
        self.faults = FaultLog()
        self._close_reasons = CloseReasonLog()
        self._panics = PanicLog()

    def take(self, server: Server, endpoints: Iterable[Endpoint], panics: Mapping[str, bool]) -> None:
        """To be called about once a second."""
        self._close_reasons.take(server.listener.close_reasons())
        self.faults.take(endpoints, time.monotonic())
        self._panics.take(panics)

    def take_anomalies(self, server: Server, models: Iterable[OpenVersion]) -> None:
        """models: of the generation that is served."""
        models = list(models)
        self.anomalies.take(server.events.fetch(), {model.key: model.profile for model in models})
        for model in models:
            self.anomalies.failures(model.engine)
            self._outputs.take(model.served, time.monotonic())
