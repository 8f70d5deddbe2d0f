"""Every attack of loadtests.attack on a plain and on a TLS listener, in the small; `make attack` has the full counts.

A server is a real process with the limits that ship (only timeouts are shorter), a bystander asks it 200 times a
second all the while. Memory, errors and endings have the bars of the full run. The bystander's p99 has not: attacker,
server and bystander share two cores here with whatever else runs, and a scheduler's turn is milliseconds; SLOWEST_MS
catches a loop that is held.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from loadtests.attack import churn, floods, headers, payloads, resets, slow, words
from loadtests.attack.arena import MEMORY_MIB, Arena, Memory, arena, rows
from loadtests.attack.attack import ATTACKS, PATIENCE_SECONDS
from loadtests.attack.bystander import Bystander, p99
from tests.support import wait_until

FAMILIES = (churn, floods, headers, payloads, resets, slow, words)
SLOWEST_MS = 150.0
QUIET_CALLS = 200
LOG_LINES = 20  # a second
TIMEOUTS = {"handshake": 2.0, "request": 3.0, "stalled": 2.0}
# of the full counts, where those take long
SCALES = {
    "churn": 0.25, "churn-garbage": 0.25, "churn-handshakes": 0.2, "silent": 0.06, "half-hello": 0.15, "slow-body": 0.1,
    "slow-headers": 0.1, "slow-frame": 0.1, "metrics-flood": 0.05, "rapid-reset-200": 0.15, "garbage": 0.3,
    "error-text": 0.3, "gzip-bomb": 0.5, "gzip-liar": 0.5,
}  # fmt: skip

pytestmark = pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", ""),
    reason="AddressSanitizer keeps freed memory for a while: it counts as resident",
)


@dataclass
class Scene:
    arena: Arena
    bystander: Bystander
    quiet_ms: float


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Scene]]:
    """A server of each kind with its bystander, started when it is first asked for."""

    class Scenes(dict[str, Scene]):
        def __missing__(self, listener: str) -> Scene:
            entered = arena(tmp_path_factory.mktemp(listener), tls=listener == "TLS", timeouts=TIMEOUTS)
            running = entered.__enter__()
            open_contexts.append(entered)
            bystander = running.bystander()
            open_contexts.append(bystander)
            wait_until(lambda: len(bystander.calls) >= QUIET_CALLS, "the bystander's quiet calls", 30)
            self[listener] = Scene(running, bystander, p99(bystander.calls) * 1e3)
            return self[listener]

    open_contexts: list[object] = []
    yield Scenes()
    for each in reversed(open_contexts):
        each.__exit__(None, None, None)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("listener", "name"),
    [(listener, name) for listener in ("plain", "TLS") for name in rows(listener)],
)
def test_an_attack_ends_and_harms_nobody_else(scenes: dict[str, Scene], listener: str, name: str) -> None:
    scene = scenes[listener]
    lines, began = scene.arena.log_lines(), time.monotonic()
    with Memory(scene.arena.process) as memory:
        outcome = ATTACKS[name].run(scene.arena.target, SCALES.get(name, 1.0))
        ended = time.monotonic()
    scene.arena.process.check()
    wait_until(lambda: scene.bystander.calls[-1].at >= ended, "the bystander's next call", 15)
    during = scene.bystander.between(began, ended)
    assert not [call.error for call in during if call.error]
    assert p99(during) * 1e3 <= max(2 * scene.quiet_ms, SLOWEST_MS)
    assert memory.grown_mib <= MEMORY_MIB
    assert not outcome.wrong
    assert (outcome.ended, outcome.connections) == (outcome.connections, outcome.connections)
    assert outcome.seconds is not None and outcome.seconds <= PATIENCE_SECONDS
    assert scene.arena.log_lines() - lines <= LOG_LINES * max(ended - began, 1)


def test_every_family_is_tried() -> None:
    assert {family.__name__.rpartition(".")[2] for family in FAMILIES} == {a.family for a in ATTACKS.values()}
