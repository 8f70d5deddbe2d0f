"""What an attack is, and what came of one."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from loadtests.attack.raw import Raw, Target

WAIT_SECONDS = 10.0  # within which the server must have ended what an attacker does

Run = Callable[[Target, float], "Outcome"]


@dataclass
class Outcome:
    """seconds: from the attacker's first byte (or from when its time was up, where a timeout is the defence) to the end
    of its last connection or stream; None where one was still open after WAIT_SECONDS."""

    sent: int = 0  # of what the attack consists of: pairs, frames, streams, connections
    connections: int = 0
    ended: int = 0  # connections that ended as the attack's row says (Attack.end), or were refused, reset or closed
    seconds: float | None = None
    goaways: Counter[str] = field(default_factory=Counter)  # error codes
    resets: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)  # what an answer should not have been
    began: float = 0.0  # on the machine's monotonic clock
    finished: float = 0.0

    @property
    def all_ended(self) -> bool:
        return self.ended == self.connections and self.seconds is not None and not self.wrong

    def note(self, raw: Raw, *, since: float | None = None, streams_ended: bool = False) -> None:
        """Adds what became of one connection."""
        self.connections += 1
        if raw.goaway is not None:
            self.goaways[str(raw.goaway)] += 1
        self.resets.update({str(code): count for code, count in raw.resets.items()})
        self.statuses.update(raw.statuses)
        if raw.closed or streams_ended:
            self.ended += 1
            took = (raw.closed_at or time.monotonic()) - (raw.began if since is None else since)
            self.seconds = max(self.seconds or 0.0, took)

    def add(self, other: Outcome) -> None:
        """The same once more."""
        self.sent += other.sent
        self.connections += other.connections
        self.ended += other.ended
        if other.seconds is not None:
            self.seconds = max(self.seconds or 0.0, other.seconds)
        self.goaways.update(other.goaways)
        self.resets.update(other.resets)
        self.statuses.update(other.statuses)
        self.wrong += other.wrong

    def refused(self, seconds: float = 0.0) -> None:
        """A connection that the server did not let in."""
        self.connections += 1
        self.ended += 1
        self.seconds = max(self.seconds or 0.0, seconds)

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "all_ended": self.all_ended}


End = Literal["closed", "answered", "open"]


@dataclass(frozen=True)
class Attack:
    """One row. Its run is given a scale, which shrinks its counts where a test has little time.

    end: what becomes of its connections. closed: the server ends them, or every stream on them. answered: every call
    is, as an honest client's would be. open: as many calls as have places stay open, and the others are refused.
    holds_mib: what callers may hold together by configuration, besides what the server may grow by. admin: it needs the
    admin API's port.
    """

    name: str
    family: str
    about: str
    run: Run
    plain_only: bool = False
    tls_only: bool = False
    end: End = "closed"
    holds_mib: float = 0.0
    admin: bool = False


ATTACKS: dict[str, Attack] = {}


def attack(
    name: str,
    about: str,
    *,
    plain_only: bool = False,
    tls_only: bool = False,
    end: End = "closed",
    holds_mib: float = 0.0,
    admin: bool = False,
) -> Callable[[Run], Run]:
    """Registers a function of (target, scale) under a name."""

    def register(run: Run) -> Run:
        family = run.__module__.rpartition(".")[2]
        ATTACKS[name] = Attack(name, family, about, run, plain_only, tls_only, end, holds_mib, admin)
        return run

    return register


def repeated(one: Attack, target: Target, scale: float, seconds: float) -> Outcome:
    """The attack again and again for so long, at least once. What is refused at once counts as well."""
    total = Outcome(began=time.monotonic())
    while total.connections == 0 or time.monotonic() < total.began + seconds:
        try:
            total.add(one.run(target, scale))
        except OSError:
            total.refused()
            time.sleep(0.01)
    total.finished = time.monotonic()
    return total


def several(target: Target, connections: int, each: Callable[[Raw], int]) -> Outcome:
    """The same on one connection after the other."""
    outcome = Outcome()
    for _ in range(connections):
        try:
            raw = target.connect()
        except OSError:
            outcome.refused()
            continue
        with raw:
            outcome.sent += each(raw)
            raw.read_until_closed(WAIT_SECONDS)
            outcome.note(raw)
    return outcome
