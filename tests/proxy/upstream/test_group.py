"""The endpoints behind a name come and go; their counters stay."""

from msgspec.structs import replace

from modelward.config.health import Breaker
from modelward.config.upstream import parse_upstream
from modelward.upstream.group import Group


def test_a_plain_address_is_one_endpoint_from_the_start() -> None:
    group = Group(parse_upstream("model.example:9001"))
    assert [m.address.text for m in group.members] == ["model.example:9001"]


def test_a_name_has_an_endpoint_for_every_address_that_it_resolves_to() -> None:
    group = Group(parse_upstream("dns:///model.example:9001"))
    assert group.members == []
    new, left = group.resolved(["192.0.2.1", "2001:db8::1"])
    assert (new, left) == (group.members, [])
    assert [m.address.target for m in new] == ["ipv4:192.0.2.1:9001", "ipv6:[2001:db8::1]:9001"]
    assert {m.address.authority for m in new} == {"model.example:9001"}


def test_an_address_that_stays_keeps_its_endpoint() -> None:
    group = Group(parse_upstream("dns:///model.example:9001"))
    first, second = group.resolved(["192.0.2.1", "192.0.2.2"])[0]
    new, left = group.resolved(["192.0.2.3", "192.0.2.2"])
    assert left == [first]
    assert second in group.members
    assert [m.address.ip for m in new] == ["192.0.2.3"]


def test_every_endpoint_is_judged_by_the_settings_that_came_last() -> None:
    group = Group(parse_upstream("dns:///model.example:9001"))
    group.resolved(["192.0.2.1"])
    group.judge_by(Breaker(max_inflight=7))
    group.resolved(["192.0.2.1", "192.0.2.2"])
    assert [m.endpoint.policy.max_inflight for m in group.members] == [7, 7]


def test_an_address_that_is_found_twice_is_one_endpoint() -> None:
    group = Group(parse_upstream("dns:///model.example:9001"))
    assert len(group.resolved(["192.0.2.1", "192.0.2.1"])[0]) == 1


def test_what_an_endpoint_that_has_left_counted_is_still_counted() -> None:
    group = Group(parse_upstream("dns:///model.example:9001"))
    group.resolved(["192.0.2.1", "192.0.2.2"])
    before = group.snapshot()
    assert sum(before.breaker.values()) == 2
    _, (left,) = group.resolved(["192.0.2.2"])
    assert group.snapshot() == before
    group.forget(left)
    assert replace(group.snapshot(), breaker=before.breaker) == before
    assert sum(group.snapshot().breaker.values()) == 1
    assert group.members[0].address.ip == "192.0.2.2"
