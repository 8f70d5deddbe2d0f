"""Limits that servers hold together: each with a region of its own, a store between them, and one simulated clock."""

from collections.abc import Callable, Sequence
from random import Random

import pytest

from modelward_native.limits.shared_limits import SharedAccounts
from modelward_native.region.region import Region
from modelward_native.testing.limits import Limiter
from tests.oracle.shared_store import Store

SECOND = 1_000_000_000
MS = 1_000_000
START = 1_000 * SECOND
ROUND = 100 * MS
KEY = bytes(range(16))

Offers = Callable[[float], Sequence[float]]  # seconds since the start -> requests per second at each server


class Server:
    def __init__(self, phase: int = 0, keys: int = 1024) -> None:
        self.region = Region.shared(2)
        self.limiter = Limiter(keys, region=self.region)  # a worker's
        self.limiter.share(KEY)
        supervisor = Limiter(keys, region=self.region)
        supervisor.share(KEY)
        self.limits = SharedAccounts(supervisor)
        self.due = START + phase
        self.last = START
        self.admitted = 0

    def round(self, store: Store, now: int, most: int = 512) -> int:
        """The number of accounts that were exchanged."""
        taken = self.limits.take(most, now - self.last, now)
        for number, level, name, *report in taken:
            ahead, demand = store.exchange((level, name), tuple(report), now - self.last, now)
            self.limits.follow(number, ahead, demand, now, now)
        self.last = now
        return len(taken)


def run(servers: Sequence[Server], offers: Offers, seconds: int, ask: Callable[[Server, int], None]) -> None:
    """A millisecond at a time; requests come at random within it; each server has its rounds at times of its own."""
    store, random = Store(), Random(7)
    left = [0.0] * len(servers)
    for ms in range(seconds * 1000):
        now = START + ms * MS
        for server in servers:
            if now >= server.due:
                server.round(store, now)
                server.due += ROUND
        for i, rate in enumerate(offers(ms / 1000)):
            left[i] += rate / 1000
            times = sorted(random.randrange(MS) for _ in range(int(left[i])))
            left[i] -= len(times)
            for time in times:
                ask(servers[i], now + time)


SPREADS: dict[str, Offers] = {
    "all at one": lambda s: (3000, 0),
    "even": lambda s: (2000, 2000),
    "uneven": lambda s: (900, 3600),
    "moving": lambda s: (3000, 0) if int(s) % 2 == 0 else (0, 3000),
    "waves": lambda s: (1500 + 1500 * (int(s * 3) % 2), 1500 + 1500 * (int(s * 2) % 2)),
    "a little at one": lambda s: (4000, 100),
}


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("burst", [10, 100])
def test_two_servers_hold_one_limit_of_requests_whatever_the_spread(spread: str, burst: int) -> None:
    servers = [Server(), Server(37 * MS)]
    for server in servers:
        server.limiter.set_identity(1000, burst)

    def ask(server: Server, now: int) -> None:
        server.admitted += server.limiter.request(now, b"p", b"alice") is None

    run(servers, SPREADS[spread], 10, ask)
    assert sum(server.admitted for server in servers) == pytest.approx(10_000, rel=0.05)


@pytest.mark.parametrize("spread", SPREADS)
def test_two_servers_hold_one_limit_of_backend_time_whatever_the_spread(spread: str) -> None:
    servers, spent, random = [Server(), Server(61 * MS)], [0], Random(3)
    for server in servers:
        server.limiter.set_total(0.5, 50 * MS, True)

    def ask(server: Server, now: int) -> None:
        took = random.randrange(200_000, 1_800_000)
        if server.limiter.request(now, b"p", backend_ns=1 * MS) is None:
            server.limiter.correct(now, 1 * MS, took, b"p")
            spent[0] += took

    run(servers, SPREADS[spread], 10, ask)
    assert spent[0] == pytest.approx(5 * SECOND, rel=0.05)


@pytest.mark.parametrize("count", [3, 10])
def test_more_servers_hold_it_too(count: int) -> None:
    servers = [Server(i * 17 * MS % ROUND) for i in range(count)]
    for server in servers:
        server.limiter.set_total(2000, 200)

    def ask(server: Server, now: int) -> None:
        server.admitted += server.limiter.request(now, b"p") is None

    run(servers, lambda s: [1000] * count, 10, ask)
    assert sum(server.admitted for server in servers) == pytest.approx(20_000, rel=0.05)
    # each has its part: none starves behind another
    assert min(server.admitted for server in servers) > 0.5 * 20_000 / count


def test_requests_within_the_limit_all_pass_wherever_they_come() -> None:
    servers = [Server(), Server(50 * MS)]
    for server in servers:
        server.limiter.set_identity(1000, 100)
    refused = []

    def ask(server: Server, now: int) -> None:
        if server.limiter.request(now, b"p", b"alice") is not None:
            refused.append(now)

    run(servers, lambda s: (450, 450) if int(s) % 2 else (0, 900), 10, ask)
    assert not refused


def test_each_model_and_each_identity_is_a_limit_of_its_own_and_peers_are_not_shared() -> None:
    a, b, store = Server(), Server(), Store()
    for server in (a, b):
        server.limiter.set_identity(1, 3)
        server.limiter.set_peer(1, 4)
    for name in (b"alice", b"alice", b"alice", b"bob"):
        assert a.limiter.request(START, name, name) is None
    for server in (a, b):  # the second asks for alice alone
        server.limiter.request(START, b"other", b"alice") if server is b else None
        server.round(store, START)
    assert b.limiter.request(START, b"third", b"alice")[0] == "identity"
    assert b.limiter.request(START, b"third", b"bob") is None
    assert b.limiter.request(START, b"third", b"carol") is None
    assert [level for _, level, *_ in b.limits.take(9, ROUND, START)] == ["identity"] * 3
    assert b.limiter.check(b"alice", START) == 0  # the peer of that name has spent nothing here


def test_of_more_accounts_than_a_round_has_room_for_the_busiest_go_first_and_the_others_next() -> None:
    server, store = Server(), Store()
    server.limiter.set_identity(1000, 1000)
    for i in range(40):
        for _ in range(1 + i % 2):
            assert server.limiter.request(START, b"p", b"%d" % i) is None
    reports = server.limits.take(20, ROUND, START)
    assert [spent for *_, spent, _, _ in reports] == [2 * MS] * 20
    # the rest, and of all that nothing more is asked
    assert [server.round(store, START + i * ROUND, 20) for i in range(1, 5)] == [20, 20, 20, 0]


def test_an_account_that_a_server_has_forgotten_is_free_and_its_limit_is_local_again() -> None:
    a, b, store = Server(), Server(), Store()
    for server in (a, b):
        server.limiter.set_total(1000, 10)
        for i in range(100):
            server.limiter.request(START + i * MS, b"p")
        server.round(store, START + 100 * MS)
    now = START + 10 * SECOND
    a.limiter.request(now, b"p")
    a.limits.forget()
    assert a.round(store, now) == 0
    assert sum(a.limiter.request(now + i * MS, b"p") is None for i in range(1, 1001)) == 1000


def test_more_identities_than_accounts_are_each_held_here_and_counted() -> None:
    server = Server(keys=1 << 16)
    server.limiter.set_identity(1, 1)
    for i in range(40_000):
        assert server.limiter.request(START, b"p", b"%d" % i) is None
    assert server.limits.unbooked > 20_000
    assert server.limiter.request(START, b"p", b"39999")[0] == "identity"
    later = START
    for _ in range(100):  # quiet accounts are given to others
        later += ROUND
        server.limits.take(1 << 16, ROUND, later)
    before = server.limits.unbooked
    for i in range(1000):
        assert server.limiter.request(later + SECOND, b"p", b"new %d" % i) is None
    assert server.limits.unbooked == before


def test_a_limiter_that_shares_nothing_has_none_to_pass_on() -> None:
    with pytest.raises(ValueError, match="shares nothing"):
        SharedAccounts(Limiter(8))
    with pytest.raises(ValueError, match="region"):
        Limiter(8).share(KEY)
    with pytest.raises(ValueError, match="16 bytes"):
        Limiter(8, region=Region()).share(b"short")
