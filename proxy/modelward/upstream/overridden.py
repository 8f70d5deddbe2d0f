"""Which endpoints of a pool the requests of one model may go to, where operators have decided."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from modelward.upstream.breaker_override import ALL, BreakerOverride, State
from modelward.upstream.upstream_pool import UpstreamPool
from modelward_native.backend.pool import Endpoint


class Overridden(Struct, frozen=True):
    """states: by configured address, or ALL for those that are not named."""

    model: str
    pool: UpstreamPool
    states: Mapping[str, State]

    def held(self) -> tuple[list[Endpoint], list[Endpoint]]:
        """As Pool.override takes it: endpoints that are held closed, and those without an override. Behind a name there
        may be others at any time."""
        closed: list[Endpoint] = []
        automatic: list[Endpoint] = []
        for group in self.pool.groups:
            state = self.states.get(group.address.text, self.states.get(ALL))
            endpoints = [member.endpoint for member in group.members]
            if state == "closed":
                closed += endpoints
            elif state is None:
                automatic += endpoints
        return closed, automatic


def overridden_in(pools: Mapping[str, UpstreamPool], breakers: Iterable[BreakerOverride]) -> list[Overridden]:
    """pools: by model. Those that are not sent to upstreams are left out."""
    states: dict[str, dict[str, State]] = {}
    for each in breakers:
        states.setdefault(each.model, {})[each.endpoint] = each.state
    return [Overridden(model, pools[model], mine) for model, mine in states.items() if model in pools]
