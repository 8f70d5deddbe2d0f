"""Which peers of an IPv6 network have budgets of their own behind proxies, on a clock of the test's own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward_native.testing.forwarded import SITE_BUCKETS, SITE_WAYS, Sites

NOW = 10**15
SECOND = 10**9
KEPT = 60 * SECOND
MOST = 4
HOME = 7 << 32


def in_bucket_of_home(number: int) -> int:
    """The hash of another network that shares its bucket with HOME."""
    return HOME + (number * SITE_BUCKETS << 32)


def entered(sites: Sites, network: int, members: range, now: int = NOW) -> list[bool]:
    return [sites.enter(network, 2 * member, MOST, now) for member in members]


def test_the_first_members_of_a_network_have_places_and_the_others_share() -> None:
    sites = Sites(MOST)
    assert entered(sites, HOME, range(1, 7)) == [True] * MOST + [False] * 2
    assert entered(sites, HOME, range(1, 7)) == [True] * MOST + [False] * 2, "a member keeps its slot"


def test_members_of_one_network_take_no_place_of_another() -> None:
    sites = Sites(MOST)
    for network in (HOME, HOME + (1 << 32), in_bucket_of_home(1)):
        assert entered(sites, network, range(1, 7)) == [True] * MOST + [False] * 2


def test_a_place_is_free_a_minute_after_its_last_request() -> None:
    sites = Sites(MOST)
    entered(sites, HOME, range(1, 5))
    assert entered(sites, HOME, range(2, 5), NOW + 30 * SECOND) == [True] * 3
    assert not sites.enter(HOME, 100, MOST, NOW + KEPT)
    assert sites.enter(HOME, 100, MOST, NOW + KEPT + 1)
    assert not sites.enter(HOME, 2, MOST, NOW + KEPT + 1), "the member that left has lost its place"
    assert entered(sites, HOME, range(2, 5), NOW + KEPT + 1) == [True] * 3


def test_requests_that_share_the_budget_of_the_network_keep_no_place() -> None:
    sites = Sites(MOST)
    entered(sites, HOME, range(1, 5))
    for seconds in range(0, 61, 10):
        assert not sites.enter(HOME, 100, MOST, NOW + seconds * SECOND)
    assert entered(sites, HOME, range(5, 10), NOW + KEPT + 1) == [True] * MOST + [False]


def test_a_network_may_have_fewer_places_than_the_table_has_room_for() -> None:
    sites = Sites(16)
    assert [sites.enter(HOME, 2 * member, 2, NOW) for member in range(1, 5)] == [True, True, False, False]
    assert [sites.enter(HOME + (1 << 32), 2 * member, 1000, NOW) for member in range(1, 19)] == [True] * 16 + [
        False
    ] * 2


def test_where_a_bucket_is_full_networks_share_until_one_is_a_minute_old() -> None:
    sites = Sites(MOST)
    for number in range(SITE_WAYS):
        assert sites.enter(in_bucket_of_home(number), 2, MOST, NOW + number * SECOND)
    newcomer = in_bucket_of_home(SITE_WAYS)
    assert not sites.enter(newcomer, 2, MOST, NOW + KEPT)
    assert sites.enter(HOME + (1 << 32), 2, MOST, NOW + KEPT), "other buckets have room"
    assert sites.enter(HOME, 4, MOST, NOW + KEPT), "those that are in it keep their places"
    assert not sites.enter(newcomer, 2, MOST, NOW + KEPT + SECOND)
    assert sites.enter(newcomer, 2, MOST, NOW + KEPT + SECOND + 1), "the second network has been silent for a minute"
    assert not sites.enter(in_bucket_of_home(1), 2, MOST, NOW + KEPT + SECOND + 1)


def test_a_network_that_takes_the_place_of_another_has_none_of_its_members() -> None:
    sites = Sites(MOST)
    for number in range(SITE_WAYS):
        assert entered(sites, in_bucket_of_home(number), range(1, 5)) == [True] * MOST
    newcomer = in_bucket_of_home(SITE_WAYS)
    assert entered(sites, newcomer, range(3, 9), NOW + KEPT + 1) == [True] * MOST + [False] * 2


def test_a_table_full_of_networks_still_keeps_each_of_them_apart() -> None:
    sites = Sites(1)
    networks = [
        (bucket << 32) + (way * SITE_BUCKETS << 32) for bucket in range(SITE_BUCKETS) for way in range(SITE_WAYS)
    ]
    for first in (True, False):
        assert [sites.enter(network, 2, 1, NOW) for network in networks] == [True] * len(networks)
        assert not any(sites.enter(network, 4, 1, NOW) for network in networks), first
    assert not any(sites.enter(network + (SITE_WAYS * SITE_BUCKETS << 32), 2, 1, NOW) for network in networks[::97])


@pytest.mark.parametrize("hashed", [0, 1, 2**64 - 1])
def test_any_hash_may_come(hashed: int) -> None:
    sites = Sites(MOST)
    assert sites.enter(hashed, hashed, MOST, NOW)
    assert entered(sites, hashed, range(1000, 1005)) == [True] * (MOST - 1) + [False] * 2


class Slow:
    """The same, plainly: a member is let in where it is a live one of a live network, or can become one."""

    def __init__(self) -> None:
        self.networks: dict[int, int] = {}
        self.members: dict[tuple[int, int], int] = {}

    def enter(self, network: int, member: int, now: int) -> bool:
        networks = {each for each, used in self.networks.items() if now - used <= KEPT}
        if network not in networks and len(networks) == SITE_WAYS:
            return False
        self.networks[network] = now
        members = {each for each, used in self.members.items() if each[0] == network and now - used <= KEPT}
        if (network, member) not in members and len(members) == MOST:
            return False
        self.members[network, member] = now
        return True


STEPS = st.lists(
    st.tuples(st.integers(0, SITE_WAYS + 1), st.integers(1, MOST + 2), st.sampled_from([0, 1, SECOND, KEPT, KEPT + 1])),
    max_size=200,
)


@given(STEPS)
def test_it_agrees_with_a_slow_twin(steps: list[tuple[int, int, int]]) -> None:
    sites, slow, now = Sites(MOST), Slow(), NOW
    for number, member, later in steps:
        now += later
        network = in_bucket_of_home(number)
        assert sites.enter(network, 2 * member, MOST, now) == slow.enter(network, member, now)
