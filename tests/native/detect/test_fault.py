"""A fault before all callers: their rows become implausible, or very unlike the training data; none of them did it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from modelward_native.testing.watch import Watch
from tests.native.detect.streams import BEGIN, THIEF, Outcome, World, numbers, times, watch_of

TENANTS, NOW = 60, BEGIN + 5000
MINUTE, WINDOW, TEN_MINUTES = 600, 3000, 6000
KINDS = ["implausible", "very unlike"]


@dataclass
class Served:
    """A model that has 60 established tenants, whose rows unlike the training data are evidence."""

    world: World
    watch: Watch

    def send(
        self,
        who: npt.NDArray[np.uint64],
        broken: npt.NDArray[np.bool_],
        when: npt.NDArray[np.uint32],
        kind: str = "implausible",
    ) -> Outcome:
        """Honest rows, but where they are broken."""
        rows = self.world.rows(len(who))
        at, p = self.world.look(rows)
        prototypes = self.world.prototypes(rows, at)
        p = np.where(broken, 1e-5, p)
        if kind == "implausible":
            at = np.where(broken, -1, at).astype(np.int32)
        labels, margins = self.world.answer(rows)
        told = self.watch.run(rows, at, p, who, labels, margins, when, prototypes=prototypes)
        return Outcome(who, *told)

    def record(self, name: int) -> dict[str, Any]:
        record = self.watch.record(name)
        assert record is not None
        return record

    def evidence(self, name: int) -> float:
        return float(max(self.record(name)["evidence"]))

    @property
    def faults(self) -> list[int]:
        """Until when each kind is tolerated; 0 for none."""
        return [until for until, _ in self.watch.faults]


@pytest.fixture
def served() -> Served:
    world = World(21)
    watch = watch_of(world)
    count = 55_000
    world.send(watch, world.rows(count), numbers(count, 1, TENANTS), times(count, BEGIN))
    assert watch.phase == "filling" and watch.faults == [(0, 0), (0, 0)]
    return Served(world, watch)


def a_fifth(served: Served, count: int) -> npt.NDArray[np.bool_]:
    return served.world.rng.random(count) < 0.2


@pytest.mark.parametrize("kind", KINDS)
def test_no_established_identity_is_restricted_for_a_fault_that_all_have(served: Served, kind: str) -> None:
    count = 200 * TENANTS
    outcome = served.send(numbers(count, 1, TENANTS), a_fifth(served, count), times(count, NOW), kind)
    later = np.arange(count) > 50 * TENANTS
    assert set(outcome.who[later & (outcome.step >= 2)]) == set(), "those that were quick are forgiven"
    (until, identities) = served.watch.faults[KINDS.index(kind)]
    assert NOW + TEN_MINUTES < until <= NOW + MINUTE + TEN_MINUTES
    assert identities >= TENANTS // 2
    assert served.faults[1 - KINDS.index(kind)] == 0


def test_nor_where_each_fifth_row_is_implausible(served: Served) -> None:
    count = 200 * TENANTS
    broken = np.arange(count) // TENANTS % 5 == 0
    outcome = served.send(numbers(count, 1, TENANTS), broken, times(count, NOW))
    assert outcome.restricted() == set() and served.faults[0] > 0


def test_nor_where_all_rows_are_implausible(served: Served) -> None:
    count = 300 * TENANTS
    outcome = served.send(numbers(count, 1, TENANTS), np.ones(count, bool), times(count, NOW))
    later = np.arange(count) > 20 * TENANTS
    assert set(outcome.who[later & (outcome.step >= 2)]) == set(), "those that were quick are forgiven"


def test_nor_where_customers_send_large_batches_every_ten_minutes(served: Served) -> None:
    """It is known after some minutes, and then as long as it lasts; those that came before are forgiven."""
    late: set[int] = set()
    begin = NOW + 480 * MINUTE
    for minute in range(480):
        who = served.world.rng.permutation(np.arange(1, TENANTS + 1))[: TENANTS // 10].astype(np.uint64)
        served.send(who, np.zeros(len(who), bool), np.full(len(who), NOW + minute * MINUTE, np.uint32))
    for minute in range(40):
        who = np.repeat(served.world.rng.permutation(np.arange(1, TENANTS + 1))[: TENANTS // 10], 100).astype(np.uint64)
        known = served.faults[0] > 0
        when = np.full(len(who), begin + minute * MINUTE, np.uint32)
        gone = served.send(who, np.ones(len(who), bool), when).restricted()
        late |= gone if known else set()
    assert served.faults[0] > begin + 40 * MINUTE and late == set()
    assert sum(served.record(name)["strikes"] for name in range(1, TENANTS + 1)) == 0


def test_a_fault_is_found_within_half_an_hour_where_half_as_many_ask_as_did_just_before(served: Served) -> None:
    for minute in range(30):
        who = np.repeat(served.world.rng.permutation(np.arange(1, TENANTS + 1))[: TENANTS // 10], 100).astype(np.uint64)
        served.send(who, np.ones(len(who), bool), np.full(len(who), NOW + minute * MINUTE, np.uint32))
    assert served.faults[0] > NOW + 30 * MINUTE


def test_who_was_blocked_before_the_fault_was_known_is_forgiven(served: Served) -> None:
    batch = served.send(numbers(200, 1, 1), np.arange(200) % 3 == 0, np.full(200, NOW, np.uint32))
    assert batch.step.max() == 6 and served.faults == [0, 0]
    count = 60 * (TENANTS - 1)
    minutes_later = NOW + 8 * MINUTE
    served.send(numbers(count, 2, TENANTS - 1), a_fifth(served, count), times(count, minutes_later))
    record = served.record(1)
    assert (record["until"], record["strikes"]) == (0, 0) and served.evidence(1) < 4.61
    again = served.send(numbers(200, 1, 1), a_fifth(served, 200), times(200, minutes_later + 300))
    assert again.step.max() == 0


def test_young_identities_are_judged_while_a_fault_lasts(served: Served) -> None:
    count = 100 * TENANTS
    served.send(numbers(count, 1, TENANTS), a_fifth(served, count), times(count, NOW))
    outcome = served.send(numbers(60, THIEF, 1), np.ones(60, bool), times(60, NOW + 300))
    assert outcome.step[8] >= 2


def test_new_names_make_no_fault_however_many(served: Served) -> None:
    outcome = served.send(numbers(4000, THIEF, 400), np.ones(4000, bool), times(4000, NOW))
    assert len(outcome.restricted()) == 400 and served.faults == [0, 0]


def test_who_was_suspicious_before_the_fault_began_gets_no_tolerance(served: Served) -> None:
    far = served.send(numbers(4, 7, 1), np.ones(4, bool), times(4, NOW - TEN_MINUTES))
    before = served.evidence(7)
    assert far.step[-1] == 1 and before > 9.2
    count = 100 * TENANTS
    who = numbers(count, 1, TENANTS)
    others = who != 7
    served.send(who[others], a_fifth(served, others.sum()), times(others.sum(), NOW + 10))
    assert served.faults[0] > 0 and served.evidence(7) == before
    outcome = served.send(numbers(40, 7, 1), np.ones(40, bool), times(40, NOW + 11, 1000))
    assert outcome.step.max() >= 2


def test_tolerance_ends_ten_minutes_after_the_last_sign_of_a_fault(served: Served) -> None:
    count = 100 * TENANTS
    served.send(numbers(count, 1, TENANTS), a_fifth(served, count), times(count, NOW))
    until = served.faults[0]
    during = served.send(numbers(9, 8, 1), np.ones(9, bool), np.full(9, until - 1, np.uint32))
    after = served.send(numbers(9, 9, 1), np.ones(9, bool), np.full(9, until, np.uint32))
    assert during.step.max() < 2 <= after.step.max() and served.faults[0] == until


def test_a_tolerated_row_teaches_nothing_about_its_sender(served: Served) -> None:
    count = 20 * TENANTS
    served.send(numbers(count, 1, TENANTS), np.ones(count, bool), times(count, NOW, TENANTS))
    before = [served.record(name)["own"] for name in range(1, TENANTS + 1)]
    count = 600 * TENANTS
    served.send(numbers(count, 1, TENANTS), np.ones(count, bool), times(count, NOW + 200, TENANTS))
    after = [served.record(name)["own"] for name in range(1, TENANTS + 1)]
    assert after == before


def test_a_fault_of_one_kind_is_none_of_the_other(served: Served) -> None:
    count = 100 * TENANTS
    served.send(numbers(count, 1, TENANTS), a_fifth(served, count), times(count, NOW))
    until = served.faults[0]
    served.send(numbers(count, 1, TENANTS), a_fifth(served, count), times(count, NOW + WINDOW), "very unlike")
    assert served.faults[0] == until and served.faults[1] > until


# ---- an attacker that owns established accounts


def reached(served: Served, accounts: int, rows: int, kind: str = "implausible", natural: int = 0) -> list[int]:
    """After how many broken rows each account is restricted that sends so many natural ones to each, while the others
    send as many honest ones; as many as there are where it never is."""
    count = rows * (natural + 1) * TENANTS
    who = numbers(count, 1, TENANTS)
    broken = (who <= accounts) & (np.arange(count) // TENANTS % (natural + 1) == natural)
    outcome = served.send(who, broken, times(count, NOW, 1000), kind)
    assert outcome.restricted() <= set(range(1, accounts + 1))
    answered = [broken[who == name] & (outcome.step[who == name] < 2) for name in range(1, accounts + 1)]
    return [int(one.sum()) for one in answered]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("accounts", [3, 12, 24])
def test_accounts_of_fewer_than_half_gain_nothing(served: Served, accounts: int, kind: str) -> None:
    assert max(reached(served, accounts, 60, kind)) <= 12 and served.faults == [0, 0]


@pytest.mark.parametrize("accounts", [6, 24])
def test_nor_do_they_with_natural_rows_among_the_broken_ones(served: Served, accounts: int) -> None:
    assert max(reached(served, accounts, 150, natural=1)) <= 60 and served.faults == [0, 0]


def test_accounts_of_an_attacker_do_not_become_many_in_a_night(served: Served) -> None:
    for hour in range(1, 10):  # a few ask now and then
        when = np.full(3, NOW + hour * 36_000, np.uint32)
        served.send(numbers(3, 40, 3), np.zeros(3, bool), when)
    outcome = served.send(numbers(900, 1, 10), np.ones(900, bool), times(900, NOW + 10 * 36_000))
    assert outcome.restricted() == set(range(1, 11)) and served.faults == [0, 0]


def test_a_few_accounts_do_not_prolong_the_tolerance_of_a_fault_that_is_over(served: Served) -> None:
    """They send broken rows alone, of both kinds, and the others honest ones, for an hour."""
    count = 60 * TENANTS
    served.send(numbers(count, 1, TENANTS), np.ones(count, bool), times(count, NOW, TENANTS))
    count = 360 * TENANTS
    who, turn = numbers(count, 1, TENANTS), np.arange(count) // TENANTS
    when = times(count, NOW + MINUTE, TENANTS / 10)
    unlike = turn % 22 == 0
    gone: set[int] = set()
    for begin in range(0, count, TENANTS):
        part = slice(begin, begin + TENANTS)
        kind = "very unlike" if unlike[begin] else "implausible"
        gone |= served.send(who[part], who[part] <= 4, when[part], kind).restricted()
    assert gone == {1, 2, 3, 4} and served.faults[0] <= NOW + 2 * MINUTE + TEN_MINUTES
