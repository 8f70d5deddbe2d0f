"""Which endpoints a model's requests may go to after what operators have said of its upstreams."""

from __future__ import annotations

from typing import Literal

from modelward.config.upstream import parse_upstream
from modelward.upstream.breaker_override import ALL, BreakerOverride
from modelward.upstream.overridden import Overridden, overridden_in
from modelward.upstream.upstream_pool import PoolKey, UpstreamPool

NAME, PLAIN = "dns:///model.example:9001", "10.0.0.1:9001"


def pool() -> UpstreamPool:
    made = UpstreamPool.of(PoolKey((parse_upstream(NAME), parse_upstream(PLAIN))))
    made.groups[0].resolved(["192.0.2.1", "192.0.2.2"])
    return made


def held(states: dict[str, Literal["open", "closed"]]) -> tuple[list[str], list[str]]:
    """Addresses of those that are held closed, and of those without an override."""
    closed, automatic = Overridden("m", pool(), states).held()
    return [each.address for each in closed], [each.address for each in automatic]


def test_what_is_said_of_a_name_is_of_all_endpoints_behind_it() -> None:
    assert held({NAME: "open"}) == ([], [PLAIN])
    assert held({NAME: "closed"}) == ([NAME, NAME], [PLAIN])


def test_what_is_said_of_one_counts_before_what_is_said_of_all() -> None:
    assert held({ALL: "open"}) == ([], [])
    assert held({ALL: "open", PLAIN: "closed"}) == ([PLAIN], [])
    assert held({ALL: "closed", NAME: "open"}) == ([PLAIN], [])


def test_an_endpoint_that_comes_up_behind_the_name_later_is_held_too() -> None:
    made = pool()
    overridden = Overridden("m", made, {NAME: "open"})
    made.groups[0].resolved(["192.0.2.1", "192.0.2.2", "192.0.2.3"])
    assert [each.address for each in overridden.held()[1]] == [PLAIN]


def test_what_is_said_of_a_model_that_is_sent_to_no_upstream_is_left_out() -> None:
    breakers = [BreakerOverride(model, ALL, "open", 0.0) for model in ("m", "gone")]
    (only,) = overridden_in({"m": pool(), "other": pool()}, breakers)
    assert (only.model, only.states) == ("m", {ALL: "open"})
