"""What operators decide of the circuit breakers of a model's upstream endpoints, for a time."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Action = Literal["open", "close", "auto"]
State = Literal["open", "closed"]

ALL = ""  # in the place of an address: every endpoint of the model


class BreakerOrder(Struct, frozen=True):
    """What is asked for. endpoint: an address as configured, or ALL. seconds: so long it holds; of no meaning for
    `auto`."""

    model: str
    endpoint: str
    action: Action
    seconds: float = 0.0
    reason: str = ""

    @property
    def words(self) -> str:
        return f"{self.action} {self.model} {self.endpoint}".rstrip()

    @property
    def where(self) -> str:
        return where(self.model, self.endpoint)


class BreakerOverride(Struct, frozen=True):
    """What holds. Open: requests of the model do not go to the endpoint. Closed: they do, whatever its breaker, active
    checks and silence say. until: seconds since 1970. by: who has asked for it."""

    model: str
    endpoint: str
    state: State
    until: float
    by: str = ""
    reason: str = ""

    @property
    def where(self) -> str:
        return where(self.model, self.endpoint)

    @property
    def endpoint_words(self) -> str:
        return self.endpoint or "all"


def where(model: str, endpoint: str) -> str:
    return f"model {model}, {f'upstream {endpoint}' if endpoint != ALL else 'all upstreams'}"
