"""What happens when: each phase is a time and the attackers that are there meanwhile. The honest always are."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LOCUSTFILE = Path(__file__).with_name("locustfile.py")


@dataclass(frozen=True)
class Attacker:
    """A process. `command` takes 127.0.0.1:port and a number of seconds, after which it ends by itself."""

    name: str
    arguments: tuple[str, ...]
    raw: bool = False  # of loadtests.attack

    def command(self, port: int, seconds: int) -> list[str]:
        if self.raw:
            target = ["--target", f"127.0.0.1:{port}", "--for", str(seconds)]
            return [sys.executable, "-m", "loadtests.attack", *self.arguments, *target]
        return locust(port, seconds, self.arguments)


@dataclass(frozen=True)
class Phase:
    name: str
    share: float  # of the siege's time
    attackers: tuple[Attacker, ...] = ()


def locust(port: int, seconds: int, arguments: Sequence[str]) -> list[str]:
    """Headless, quiet, ended by itself after `seconds`."""
    options = ["--headless", "--only-summary", "--loglevel", "ERROR", "--exit-code-on-error", "0"]
    target = ["--host", f"127.0.0.1:{port}", "--run-time", f"{seconds}s", "--stop-timeout", "2"]
    return [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), *options, *target, *arguments]


def users(name: str, count: int) -> Attacker:
    return Attacker(name, ("--users", str(count), "--spawn-rate", str(count), name))


def raw(name: str) -> Attacker:
    return Attacker(name, (name,), raw=True)


FLOOD, BURST, SLOW = users("Flood", 20), users("Burst", 3), users("SlowClient", 20)
BAD, EXPENSIVE, ROTATION = users("BadInput", 2), users("ExpensiveModel", 20), users("Rotation", 2)
QUIET, CALM_AGAIN, OVERLOAD = "quiet", "quiet again", "overload"
SECONDS = 540  # of all phases; servers come up and the report is written in the rest of ten minutes

# the names of the raw ones are loadtests.attack's
PHASES = (
    Phase(QUIET, 3),
    Phase("flood", 3, (FLOOD,)),
    Phase("bursts", 2, (BURST,)),
    Phase("expensive model", 3, (EXPENSIVE,)),
    Phase("bad inputs", 2, (BAD,)),
    Phase("keys rotated", 2, (ROTATION,)),
    Phase("slow clients", 2, (SLOW, raw("slow-body"))),
    Phase("streams reset", 2, (raw("rapid-reset"),)),
    Phase("frames without end", 2, (raw("flood-settings"), raw("flood-ping"))),
    Phase("headers without end", 2, (raw("continuation-full"), raw("hpack-bomb"))),
    Phase("windows never opened", 2, (raw("window-shut"),)),
    Phase("connections", 2, (raw("churn"),)),
    Phase("all at once", 4, (FLOOD, EXPENSIVE, BAD, ROTATION, raw("rapid-reset"), raw("slow-body"))),
    Phase(CALM_AGAIN, 3),
)


def seconds_of(phase: Phase, total: float, phases: Sequence[Phase] = PHASES) -> int:
    """Whole seconds of its share, at least two."""
    return max(2, round(total * phase.share / sum(p.share for p in phases)))
