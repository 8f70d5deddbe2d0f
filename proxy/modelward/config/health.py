"""How endpoints of upstreams are judged: health checks and circuit breakers."""

from typing import Self

from modelward.config.fields import Field, model_validator
from modelward.config.rate_limit import LARGEST_BURST
from modelward.config.section import Section
from modelward.config.units import MINUTE, SECOND, Duration, UnitError


class Health(Section):
    """Checks use grpc.health.v1 where an upstream has it, otherwise ServerReady."""

    interval: Duration = Field(default=5 * SECOND, ge=SECOND // 10)
    """Time between two checks of an upstream, plus or minus a fifth."""
    timeout: Duration = Field(default=SECOND, gt=0)
    """A check that takes longer has failed. Two failures in a row take the upstream out of service. One success brings
    it back."""
    startup: Duration = 30 * SECOND
    """How long the start waits for upstreams that must be asked for signatures. Models without a signature then pass
    requests undecoded."""
    refresh: Duration = Field(default=30 * SECOND, ge=SECOND // 10)
    """Time between two questions to upstreams for their models and signatures, plus or minus a fifth. They are also
    asked when refusals hint at a change, and after a reconnect."""


class Breaker(Section):
    """A circuit breaker takes an endpoint out of service although it is connected and its checks succeed.

    Where fewer than half of a model's connected endpoints are in service, requests go to all of them, as with Envoy's
    panic threshold. The breaker of a model's only endpoint therefore stops no requests.
    """

    consecutive_failures: int = Field(default=5, ge=0, le=LARGEST_BURST)
    """Failures in a row that open the breaker. 0: they do not open it."""
    success_rate: float = Field(default=0.5, ge=0, le=1)
    """The breaker opens when the share of successes within the window is below this. 0: it does not."""
    min_requests: int = Field(default=20, ge=1, le=LARGEST_BURST)
    """Requests within the window before success_rate counts."""
    window: Duration = Field(default=10 * SECOND, ge=SECOND // 10)
    """Time over which success_rate is measured."""
    ejection: Duration = Field(default=10 * SECOND, ge=SECOND // 1000)
    """How long the breaker is open the first time. Each further time it is open for this much longer, unless the
    endpoint worked for as long in between. Then one request tests the endpoint: if it succeeds, the breaker closes."""
    max_ejection: Duration = 5 * MINUTE
    """Longest time that the breaker is open."""
    max_inflight: int = Field(default=1024, ge=1, le=LARGEST_BURST)
    """Requests in flight to one endpoint. Further requests go to another endpoint, or are refused."""

    @model_validator(mode="after")
    def _ejections_grow(self) -> Self:
        if self.max_ejection < self.ejection:
            raise UnitError("max_ejection is shorter than ejection", "Raise max_ejection or lower ejection")
        return self
