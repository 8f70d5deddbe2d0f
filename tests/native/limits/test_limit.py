import os
import random
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from modelward_native.region.region import Region
from modelward_native.testing.limits import LEVELS, Limiter, Meter, request_many
from tests.oracle import gcra

SECOND = 1_000_000_000
START = 1_000 * SECOND
KEY = bytes(range(16))

rates = st.one_of(
    st.none(),
    st.tuples(st.floats(0.001, 1e9), st.one_of(st.integers(1, 20), st.integers(1, 2**31))),
)
limits = st.one_of(rates, st.tuples(st.floats(1e-6, 2**20), st.integers(1, 10**12), st.just(True)))
costs = st.one_of(st.integers(1, 2**40), st.integers(1, 10**7))


def oracle_rate(limit):
    return gcra.Rate.make_timed(*limit[:2]) if len(limit) == 3 else gcra.Rate.make(*limit)


steps = st.one_of(
    st.integers(0, 2 * SECOND),
    st.integers(-SECOND, 0),
    st.integers(-3600 * SECOND, 3600 * SECOND),
    st.sampled_from([0, -SECOND, -SECOND - 1, 2**56, 2**57]),
)


class LimiterAgainstOracle(RuleBasedStateMachine):
    """A few peers and identities, any rates, rates that change, clocks that leap both ways."""

    @initialize(model=limits)
    def start(self, model):
        self.limiter, self.oracle = Limiter(keys=64, key=KEY), gcra.Oracle()
        self.now = START
        self.meter = Meter(*model) if model else None
        self.held = {"model": oracle_rate(model)} if model else {}

    @rule(level=st.sampled_from(["peer", "identity", "total"]), limit=limits)
    def reload(self, level, limit):
        getattr(self.limiter, f"set_{level}")(*(limit or (0, 0)))
        if limit:
            self.held[level] = oracle_rate(limit)
        else:
            self.held.pop(level, None)

    @rule(
        step=steps,
        peer=st.integers(0, 4),
        identity=st.one_of(st.none(), st.integers(0, 3)),
        cost=st.integers(1, 30),
        repeats=st.integers(1, 5),
        asks=st.booleans(),
        backend_ns=costs,
        took_ns=st.one_of(st.none(), costs),
    )
    def request(self, *, step, peer, identity, cost, repeats, asks, backend_ns, took_ns):
        self.now = max(0, min(self.now + step, 2**62))
        names = {"peer": peer, "identity": identity, "model": "m", "total": "t"}
        claims = [(level, names[level], self.held[level]) for level in LEVELS if level in self.held]
        claims = [claim for claim in claims if claim[1] is not None]
        if claims:  # the kernel's time stands still while it is asked nothing
            self.oracle.move_time(self.now)
        peer_bytes, identity_bytes = b"peer%d" % peer, None if identity is None else b"identity%d" % identity
        if asks and "peer" in self.held:
            wait = self.oracle.wait(("peer", peer), self.held["peer"])
            assert self.limiter.check(peer_bytes, self.now) == wait
        for _ in range(repeats):
            decided = self.limiter.request(self.now, peer_bytes, identity_bytes, self.meter, cost, backend_ns)
            assert decided == self.oracle.admit(claims, cost, backend_ns)
        if took_ns is not None and decided is None:
            self.limiter.correct(self.now, backend_ns, took_ns, peer_bytes, identity_bytes, self.meter)
            self.oracle.correct(claims, backend_ns, took_ns)

    @invariant()
    def every_key_has_its_own_slot(self):
        assert not hasattr(self, "limiter") or self.limiter.overflowed == 0


TestLimiterAgainstOracle = LimiterAgainstOracle.TestCase
TestLimiterAgainstOracle.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


def test_backend_time_is_charged_as_predicted_and_settled_as_it_was():
    limiter = Limiter(keys=8)
    limiter.set_peer(0.5, 50_000_000, True)  # 500 ms/s, 50 ms at once
    assert [limiter.request(START, b"a", backend_ns=10_000_000) for _ in range(5)] == [None] * 5
    assert limiter.request(START, b"a", backend_ns=10_000_000) == ("peer", pytest.approx(20_000_000, rel=1e-4))
    limiter.correct(START, 10_000_000, 2_000_000, b"a")  # 8 ms were not used
    assert limiter.request(START, b"a", backend_ns=7_900_000) is None
    limiter.correct(START, 7_900_000, 60_000_000, b"a")
    wait = limiter.request(START, b"a", backend_ns=50_000)
    assert wait == ("peer", pytest.approx(104_200_000, rel=1e-2))


def test_a_request_above_a_whole_burst_passes_where_there_is_no_debt_and_is_paid_off_before_the_next():
    limiter = Limiter(keys=8)
    limiter.set_total(1, 1_000_000, True)
    assert limiter.request(START, b"a", backend_ns=SECOND) is None
    refused = limiter.request(START, b"a", backend_ns=SECOND)
    assert refused == ("total", pytest.approx(SECOND, rel=1e-4))
    assert limiter.request(START + refused[1], b"a", backend_ns=SECOND) is None


def test_debt_is_bounded_and_at_most_the_debt_is_given_back():
    limiter = Limiter(keys=8)
    limiter.set_peer(1, SECOND, True)
    assert limiter.request(START, b"a", backend_ns=1) is None
    limiter.correct(START, 1, 2**40, b"a")
    assert limiter.check(b"a", START) == pytest.approx(10 * SECOND)
    limiter.correct(START, 2**40, 5000, b"b")  # nothing is owed
    assert limiter.request(START, b"b", backend_ns=SECOND) is None
    assert limiter.request(START, b"b", backend_ns=SECOND) == ("peer", pytest.approx(SECOND, rel=1e-4))


def test_requests_and_backend_time_are_counted_side_by_side():
    limiter, model = Limiter(keys=8), Meter(1, 10_000_000, True)
    limiter.set_peer(10, 3)
    assert [limiter.request(START, b"a", model=model, backend_ns=3_000_000) for _ in range(3)] == [None] * 3
    assert limiter.request(START, b"a", model=model, backend_ns=1) == ("peer", SECOND // 10)
    assert limiter.request(START, b"b", model=model, backend_ns=3_000_000)[0] == "model"
    assert limiter.request(START, b"b", model=model, backend_ns=900_000) is None


@pytest.mark.parametrize("spends", [True, False])
def test_a_million_rotating_keys_change_an_honest_keys_admission_by_nothing(spends):
    """One that is at its limit, and one that is not: asked every millisecond between a thousand new keys each time."""

    def admitted(flood):
        limiter = Limiter(keys=1 << 20, key=KEY)
        limiter.set_peer(100, 10)
        told = []
        for ms in range(1024):
            now = START + ms * 1_000_000
            if flood:
                request_many(limiter, ms << 10, 1 << 10, now)
            if spends or ms % 20 == 0:
                told.append(limiter.request(now, b"honest"))
        return told

    assert admitted(flood=True) == admitted(flood=False)


def test_a_burst_passes_and_the_next_request_waits_one_interval():
    limiter = Limiter(keys=8)
    limiter.set_peer(10, 5)
    assert [limiter.request(START, b"a") for _ in range(5)] == [None] * 5
    assert limiter.request(START, b"a") == ("peer", SECOND // 10)
    assert limiter.request(START + SECOND // 10 - 1, b"a") == ("peer", 1)
    assert limiter.request(START + SECOND // 10, b"a") is None


def test_the_wait_that_a_refusal_names_is_exactly_long_enough():
    limiter = Limiter(keys=8)
    limiter.set_total(7, 3)
    now = START
    for _ in range(200):
        refusal = limiter.request(now, b"a")
        if refusal is not None:
            assert limiter.request(now + refusal[1] - 1, b"a") is not None
            now += refusal[1]
            assert limiter.request(now, b"a") is None


def test_a_request_refused_by_one_level_drains_no_other():
    limiter, model = Limiter(keys=8), Meter(1, 1)
    limiter.set_peer(10, 2)
    limiter.set_identity(10, 2)
    limiter.set_total(10, 2)
    assert limiter.request(START, b"a", b"i", model) is None
    for _ in range(50):
        assert limiter.request(START, b"a", b"i", model) == ("model", SECOND)
    assert limiter.request(START, b"a", b"i") is None  # each of the other three still had its second request
    assert limiter.request(START, b"b", b"j") == ("total", SECOND // 10)


def test_a_refusal_names_the_level_that_waits_longest():
    limiter, model = Limiter(keys=8), Meter(1, 1)
    limiter.set_peer(10, 1)
    limiter.set_total(2, 1)
    assert limiter.request(START, b"a", None, model) is None
    assert limiter.request(START, b"a", None, model) == ("model", SECOND)
    assert limiter.request(START, b"a") == ("total", SECOND // 2)


def test_asking_whether_a_peer_may_send_charges_nothing():
    limiter = Limiter(keys=8)
    limiter.set_peer(1, 1)
    assert [limiter.check(b"a", START) for _ in range(9)] == [0] * 9
    assert limiter.request(START, b"a") is None
    assert limiter.check(b"a", START) == SECOND


def test_a_peer_and_an_identity_of_the_same_name_have_budgets_of_their_own():
    limiter = Limiter(keys=8)
    assert limiter.key("peer", b"same") != limiter.key("identity", b"same")
    limiter.set_peer(1, 1)
    limiter.set_identity(1, 1)
    assert limiter.request(START, b"same", b"same") is None


def test_a_million_debtors_are_all_remembered_in_32_mebibytes():
    limiter = Limiter(keys=1 << 20)
    assert limiter.bytes == 32 << 20
    limiter.set_peer(1, 1)
    assert request_many(limiter, 0, 1 << 20, START) == 1 << 20
    assert request_many(limiter, 0, 1 << 20, START) == 0
    assert request_many(limiter, 0, 1 << 20, START + SECOND - 1) == 0
    assert limiter.overflowed == 0
    assert request_many(limiter, 0, 1 << 20, START + SECOND) == 1 << 20


@pytest.mark.parametrize("seed", range(20))
def test_moving_keys_within_a_nearly_full_table_loses_none_of_their_debts(seed):
    """120 names in 128 slots: most new keys have to move another, often the other key of their own request."""
    limiter, oracle = Limiter(keys=64, key=bytes([seed] * 16)), gcra.Oracle()
    limiter.set_peer(1, 3)
    limiter.set_identity(0.5, 2)
    rate = {"peer": gcra.Rate.make(1, 3), "identity": gcra.Rate.make(0.5, 2)}
    chance, now = random.Random(seed), START
    for _ in range(3000):
        now += chance.randrange(SECOND // 20)
        oracle.move_time(now)
        peer, identity = chance.randrange(60), chance.randrange(60)
        decided = limiter.request(now, b"%d" % peer, b"%d" % identity)
        if limiter.overflowed:
            break  # from here on keys share a cell, which the oracle's do not
        assert decided == oracle.admit([("peer", peer, rate["peer"]), ("identity", identity, rate["identity"])])
    assert len(oracle.buckets) > 60


def test_a_debtor_keeps_its_debt_while_four_million_new_keys_come():
    limiter = Limiter(keys=1 << 20)
    limiter.set_peer(1 / 3600, 2)
    for _ in range(2):
        assert limiter.request(START, b"debtor") is None
    request_many(limiter, 0, 4 << 20, START)
    assert limiter.overflowed > 0
    assert limiter.check(b"debtor", START) == 3600 * SECOND


def test_newcomers_to_a_table_full_of_debtors_share_one_budget_and_regain_their_own_when_debts_are_paid():
    limiter = Limiter(keys=8)
    limiter.set_peer(1, 3)
    request_many(limiter, 0, 1000, START)  # 16 slots, all owing one request, and the shared cell used up
    assert limiter.request(START, b"newcomer") == ("peer", SECOND)
    assert limiter.request(START, b"another newcomer") == ("peer", SECOND)
    assert [limiter.request(START + 4 * SECOND, b"newcomer") for _ in range(3)] == [None] * 3


def test_levels_of_a_full_table_do_not_share_their_overflow():
    limiter = Limiter(keys=8)
    limiter.set_peer(1, 3)
    request_many(limiter, 0, 1000, START)
    limiter.set_peer(0, 0)
    limiter.set_identity(1, 2)
    assert [limiter.request(START, b"", b"new") for _ in range(3)] == [None, None, ("identity", SECOND)]


def test_keys_whose_debts_are_paid_make_room_for_new_ones_without_overflow():
    limiter = Limiter(keys=1 << 10)
    limiter.set_peer(1, 1)
    for hour in range(100):
        assert request_many(limiter, hour << 10, 1 << 10, START + hour * 3600 * SECOND) == 1 << 10
    assert limiter.overflowed == 0


@pytest.mark.parametrize("jitter", [1, SECOND // 1000, SECOND])
def test_a_clock_that_jitters_back_adds_no_budget(jitter):
    limiter = Limiter(keys=8)
    limiter.set_peer(1000, 10)
    passed = sum(limiter.request(START - jitter * (i % 2), b"a") is None for i in range(10_000))
    assert passed == 10


def test_a_clock_set_back_by_an_hour_neither_refills_a_budget_nor_holds_it_for_an_hour():
    limiter = Limiter(keys=8)
    limiter.set_peer(10, 5)
    for _ in range(5):
        assert limiter.request(START, b"a") is None
    back = START - 3600 * SECOND
    assert limiter.request(back, b"a") == ("peer", SECOND // 10)
    assert limiter.request(back + SECOND // 10, b"a") is None
    assert limiter.request(back + SECOND // 10, b"a") == ("peer", SECOND // 10)


def test_the_ends_of_time_do_not_wedge_the_limit():
    limiter = Limiter(keys=8)
    limiter.set_peer(10, 2)
    for now in (2**63 - 1, -(2**63), 0, 2**63 - 1, START):
        limiter.request(now, b"a")
    for _ in range(3):
        limiter.request(START, b"a")
    assert limiter.request(START, b"a") == ("peer", SECOND // 10)
    assert limiter.request(START + SECOND // 10, b"a") is None


def test_the_fastest_rate_and_the_largest_burst_hold():
    limiter = Limiter(keys=8)
    limiter.set_total(1e9, 2**31)
    assert limiter.request(START, b"a", cost=2**31) is None
    assert limiter.request(START, b"a") == ("total", 1)
    assert limiter.request(START + 1, b"a") is None
    assert limiter.request(START + 1, b"a", cost=2**31 + 1) == ("total", None)
    assert limiter.request(START + 1, b"a", cost=2**63 - 1) == ("total", None)


def test_the_slowest_rate_with_the_largest_burst_saturates_instead_of_overflowing():
    limiter = Limiter(keys=8)
    limiter.set_total(1 / 86400, 2**31)
    for _ in range(800):  # 2.28 years of days are 834
        assert limiter.request(START, b"a") is None
    waits = [limiter.request(START, b"a") for _ in range(100)]
    assert waits[-1] is not None
    assert waits[-1][1] <= 86400 * SECOND


def test_a_faster_rate_forgives_debt_that_it_could_not_have_run_up():
    limiter = Limiter(keys=8)
    limiter.set_peer(1 / 3600, 100)
    for _ in range(100):
        assert limiter.request(START, b"a") is None
    limiter.set_peer(1000, 10)
    assert limiter.request(START, b"a") == ("peer", SECOND // 1000)
    assert limiter.request(START + SECOND // 1000, b"a") is None


@pytest.mark.parametrize(
    ("rate", "burst"), [(-1, 5), (float("nan"), 5), (float("inf"), 5), (1e-9, 5), (10, 0), (10, -(2**63))]
)
def test_a_rate_that_cannot_be_held_is_refused_at_set_up(rate, burst):
    limiter = Limiter(keys=8)
    with pytest.raises(ValueError, match="cannot be held"):
        limiter.set_peer(rate, burst)
    assert limiter.request(START, b"a") is None  # and no limit was set


@pytest.mark.parametrize("keys", [0, 2**32 + 1])
def test_a_table_of_no_keys_or_too_many_is_refused(keys):
    with pytest.raises(ValueError, match="keys"):
        Limiter(keys=keys)


def test_memory_that_no_key_has_touched_is_not_resident():
    def resident_pages() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1])

    before = resident_pages()
    limiter = Limiter(keys=1 << 24)
    assert limiter.bytes == 512 << 20
    assert (resident_pages() - before) * resource.getpagesize() < 4 << 20


@pytest.mark.parametrize("region", [None, Region(), Region.shared(1)], ids=["alone", "private", "shared"])
def test_the_keys_that_owe_are_counted_until_they_do_not(region):
    limiter = Limiter(keys=1 << 16, region=region)
    limiter.set_peer(1, 5)
    assert (limiter.owing(START), limiter.capacity) == (0, 1 << 16)
    assert request_many(limiter, 0, 3000, START) == 3000
    assert limiter.owing(START) == 3000
    assert limiter.owing(START + SECOND) == 0


def test_the_hash_twin_gives_the_papers_vector_and_pythons_own_hash():
    assert gcra.siphash(KEY, bytes(range(15)), c=2, d=4) == 0xA129CA6149BE45E5
    if sys.hash_info.algorithm == "siphash13":  # CPython's default since 3.11; seed 0 is a key of zeros
        script = "print(*(hash(bytes(range(n))) for n in range(1, 40)))"
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        command = [sys.executable, "-c", script]
        printed = subprocess.run(command, env=environment, capture_output=True, check=True).stdout
        ours = [gcra.siphash(bytes(16), bytes(range(n))) for n in range(1, 40)]
        assert [int(h) % 2**64 for h in printed.split()] == ours


@given(key=st.binary(min_size=16, max_size=16), name=st.binary(max_size=70))
def test_keys_are_hashed_with_siphash_1_3_of_level_and_name(key, name):
    limiter = Limiter(keys=8, key=key)
    assert limiter.key("peer", name) == gcra.siphash(key, (0).to_bytes(8, "little") + name)
    assert limiter.key("identity", name) == gcra.siphash(key, (1).to_bytes(8, "little") + name)


def test_each_limiter_hashes_with_a_key_of_its_own():
    assert Limiter(keys=8).key("peer", b"a") != Limiter(keys=8).key("peer", b"a")
