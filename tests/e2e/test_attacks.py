"""Every attack of loadtests.attack on a plain and on a TLS listener, in the small; full counts: `make bench-attack`.

A server is a real process with the limits that ship (only timeouts are shorter), a bystander asks it 200 times a
second all the while. Both listeners are attacked at once, each by an attacker of its own. Memory, errors and endings
have the bars of the full run. The bystander's p99 has not: attackers, servers and bystanders share two cores here with
whatever else runs. It is held against the p99 of another bystander in the same moments, of a server that nobody
attacks; SLOWEST_MS is a scheduler's turn, and catches a loop that is held. It is of the time in which the attacked
server has a core: what others leave it of none is not its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from loadtests.attack import churn, floods, headers, payloads, resets, shares, slow, words
from loadtests.attack.arena import BYSTANDER_TIMES, MEMORY_MIB, Arena, Memory, arena, rows
from loadtests.attack.attack import ATTACKS, WAIT_SECONDS, Outcome
from loadtests.attack.bystander import PER_SECOND, Bystander, Call, p99
from loadtests.tools import process
from tests.support import wait_until

FAMILIES = (churn, floods, headers, payloads, resets, shares, slow, words)
LISTENERS = ("plain", "TLS")
PEACE = "peace"
SLOWEST_MS, LEAST_SERVED = 150.0, 0.1
CALLS_OF_P99 = 200
LOG_LINES = 20  # a second
TIMEOUTS = {"handshake": 2.0, "request": 3.0, "stalled": 2.0}
# of the full counts, where those take long
SCALES = {
    "churn": 0.25, "churn-garbage": 0.25, "churn-handshakes": 0.2, "silent": 0.06, "half-hello": 0.15, "slow-body": 0.1,
    "slow-headers": 0.1, "slow-frame": 0.1, "metrics-flood": 0.05, "rapid-reset-200": 0.15, "garbage": 0.3,
    "error-text": 0.3, "gzip-bomb": 0.5, "gzip-liar": 0.5,
    "held-bytes": 0.25, "probe-flood": 0.1, "priority-flood": 0.1, "unended-admin": 0.3,
}  # fmt: skip

# AddressSanitizer keeps freed memory for a while, and takes its time: there an attack has to find no error
SANITIZED = "libasan" in os.environ.get("LD_PRELOAD", "")


@dataclass
class Scene:
    arena: Arena
    bystander: Bystander


@dataclass
class Tried:
    """One attack, and what its server, its bystander and its log saw of it.

    control: of the server in peace. served: of the time, what its server was not kept waiting for a core.
    """

    outcome: Outcome
    during: list[Call]
    control: list[Call]
    served: float
    grown_mib: float
    log_lines: float  # a second


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Scene]]:
    """A server of each kind with its bystander, and one in PEACE."""
    with ExitStack() as stack:
        running = {}
        for name in (*LISTENERS, PEACE):
            at = stack.enter_context(arena(tmp_path_factory.mktemp(name), tls=name == "TLS", timeouts=TIMEOUTS))
            running[name] = Scene(at, stack.enter_context(at.bystander()))
        yield running


@pytest.fixture(scope="module")
def tried(scenes: dict[str, Scene]) -> Iterator[Callable[[str, str], Tried]]:
    """What came of an attack on a listener. It is tried on all of them at once: most of it is waiting to be cut off.

    A result is given out once: a test that is run again attacks again.
    """
    begun: dict[str, dict[str, Future[Tried]]] = {}
    with ThreadPoolExecutor(len(LISTENERS)) as threads:

        def of(listener: str, name: str) -> Tried:
            waiting = begun.setdefault(name, {})
            if listener not in waiting:
                for each in LISTENERS:
                    if each not in waiting and name in rows(each):
                        waiting[each] = threads.submit(attack, scenes[each], scenes[PEACE].bystander, name)
            return waiting.pop(listener).result()

        yield of


def attack(scene: Scene, control: Bystander, name: str) -> Tried:
    family = process.tree(scene.arena.process.pid)
    waited = [process.waited_ns(pid) for pid in family]
    lines, began = scene.arena.log_lines(), time.monotonic()
    with Memory(scene.arena.process) as memory:
        outcome = ATTACKS[name].run(scene.arena.target, SCALES.get(name, 1.0))
        ended = time.monotonic()
    said = (scene.arena.log_lines() - lines) / max(ended - began, 1)
    scene.arena.process.check()
    # an attack of a quarter of a second has fifty calls, whose p99 would be the slowest
    until = max(ended, began + CALLS_OF_P99 / PER_SECOND)
    for bystander in (scene.bystander, control):
        wait_until(lambda calls=bystander.calls: calls and calls[-1].at >= until, "the bystander's next call", 15)
    longest = max(process.waited_ns(pid) - before for pid, before in zip(family, waited, strict=True)) / 1e9
    served = max(1 - longest / (time.monotonic() - began), LEAST_SERVED)
    during, beside = scene.bystander.between(began, until), control.between(began, until)
    return Tried(outcome, during, beside, served, memory.grown_mib, said)


@pytest.mark.parametrize(
    ("listener", "name"),
    [(listener, name) for name in ATTACKS for listener in LISTENERS if name in rows(listener)],
)
def test_an_attack_ends_and_harms_no_other_client(tried: Callable[[str, str], Tried], listener: str, name: str) -> None:
    found = tried(listener, name)
    outcome = found.outcome
    assert not [call.error for call in found.during if call.error]
    assert not outcome.wrong
    assert (outcome.ended, outcome.connections) == (outcome.connections, outcome.connections)
    assert outcome.seconds is not None and outcome.seconds <= WAIT_SECONDS
    if not SANITIZED:
        assert p99(found.during) * 1e3 <= max(BYSTANDER_TIMES * p99(found.control) * 1e3, SLOWEST_MS / found.served)
        assert found.grown_mib <= MEMORY_MIB + ATTACKS[name].holds_mib
        assert found.log_lines <= LOG_LINES


def test_every_family_is_tried() -> None:
    assert {family.__name__.rpartition(".")[2] for family in FAMILIES} == {a.family for a in ATTACKS.values()}
