"""A fault before all callers: their rows become implausible, or very unlike the training data; none of them did it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from modelward_native.testing.watch import Watch
from tests.native.detect.streams import BEGIN, THIEF, Outcome, World, numbers, times, watch_of

TENANTS, NOW = 60, BEGIN + 3000
TEN_MINUTES = 6000
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

    def evidence(self, name: int) -> float:
        record = self.watch.record(name)
        assert record is not None
        return float(max(record["evidence"]))

    @property
    def faults(self) -> list[int]:
        """Until when each kind is tolerated; 0 for none."""
        return [until for until, _, _ in self.watch.faults]


@pytest.fixture
def served() -> Served:
    world = World(21)
    watch = watch_of(world)
    count = 55_000
    world.send(watch, world.rows(count), numbers(count, 1, TENANTS), times(count, BEGIN))
    assert watch.phase == "filling" and watch.faults == [(0, 0, 0), (0, 0, 0)]
    return Served(world, watch)


def a_fifth(served: Served, count: int) -> npt.NDArray[np.bool_]:
    return served.world.rng.random(count) < 0.2


@pytest.mark.parametrize("kind", KINDS)
def test_no_established_identity_is_restricted_for_a_fault_that_all_have(served: Served, kind: str) -> None:
    count = 200 * TENANTS
    outcome = served.send(numbers(count, 1, TENANTS), a_fifth(served, count), times(count, NOW), kind)
    assert outcome.restricted() == set()
    (until, identities, share) = served.watch.faults[KINDS.index(kind)]
    assert NOW + TEN_MINUTES < until <= NOW + 600 + TEN_MINUTES
    assert identities >= 3 and share > 0.1
    assert served.faults[1 - KINDS.index(kind)] == 0


def test_nor_where_all_rows_are_implausible(served: Served) -> None:
    count = 300 * TENANTS
    outcome = served.send(numbers(count, 1, TENANTS), np.ones(count, bool), times(count, NOW))
    later = np.arange(count) > 20 * TENANTS
    assert set(outcome.who[later & (outcome.step >= 2)]) == set(), "those that were quick are forgiven"


def test_who_was_blocked_before_the_fault_was_known_is_forgiven(served: Served) -> None:
    batch = served.send(numbers(200, 1, 1), np.arange(200) % 3 == 0, np.full(200, NOW, np.uint32))
    assert batch.step.max() == 6 and served.faults == [0, 0]
    count = 60 * (TENANTS - 1)
    served.send(numbers(count, 2, TENANTS - 1), a_fifth(served, count), times(count, NOW + 1))
    record = served.watch.record(1)
    assert record is not None and (record["until"], record["strikes"]) == (0, 0) and served.evidence(1) < 4.61
    again = served.send(numbers(200, 1, 1), a_fifth(served, 200), times(200, NOW + 300))
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
    far = served.send(numbers(4, 7, 1), np.ones(4, bool), times(4, NOW - 900))
    before = served.evidence(7)
    assert far.step[-1] == 1 and before > 9.2
    count = 100 * TENANTS
    who = numbers(count, 1, TENANTS)
    others = who != 7
    served.send(who[others], a_fifth(served, others.sum()), times(others.sum(), NOW))
    assert served.faults[0] > 0 and served.evidence(7) == before
    outcome = served.send(numbers(40, 7, 1), np.ones(40, bool), times(40, NOW + 300))
    assert outcome.step[6] >= 2


def test_tolerance_ends_ten_minutes_after_the_last_sign_of_a_fault(served: Served) -> None:
    count = 100 * TENANTS
    served.send(numbers(count, 1, TENANTS), a_fifth(served, count), times(count, NOW))
    until = served.faults[0]
    during = served.send(numbers(9, 8, 1), np.ones(9, bool), np.full(9, until - 1, np.uint32))
    after = served.send(numbers(9, 9, 1), np.ones(9, bool), np.full(9, until, np.uint32))
    assert during.step.max() < 2 <= after.step.max() and served.faults[0] == until


# ---- an attacker that owns established accounts


def reached(served: Served, accounts: int, rows: int, kind: str = "implausible") -> list[int]:
    """After how many rows of its own each account is restricted that sends nothing but broken rows, while the others
    send as many honest ones; as many as there are where it never is."""
    count = rows * TENANTS
    who = numbers(count, 1, TENANTS)
    outcome = served.send(who, who <= accounts, times(count, NOW, 1000), kind)
    assert outcome.restricted() <= set(range(1, accounts + 1))
    steps = [outcome.step[who == name] >= 2 for name in range(1, accounts + 1)]
    return [int(step.argmax()) + 1 if step.any() else rows for step in steps]


@pytest.mark.parametrize("kind", KINDS)
def test_three_accounts_of_sixty_gain_nothing(served: Served, kind: str) -> None:
    assert max(reached(served, 3, 60, kind)) <= 8 and served.faults == [0, 0]


@pytest.mark.parametrize("accounts", [4, 5, 6])
def test_a_tenth_of_all_accounts_gains_some_dozens_of_rows(served: Served, accounts: int) -> None:
    assert max(reached(served, accounts, 300)) <= 100 and served.faults[0] > 0


def test_accounts_of_an_attacker_do_not_become_many_in_a_lull(served: Served) -> None:
    served.send(numbers(1, 40, 1), np.zeros(1, bool), np.full(1, NOW + 700, np.uint32))
    outcome = served.send(numbers(90, 1, 3), np.ones(90, bool), times(90, NOW + 1000))
    assert outcome.restricted() == {1, 2, 3} and served.faults == [0, 0]
