"""How much of a server is in use, in one number for autoscalers. Arithmetic only: totals and their time in, shares out.

What is spent on requests that are refused for who sends them or what they are must not count, or an attack would have
the fleet grow. It cannot be measured apart, only bounded. Within the bounds each part counts what the answered requests
cost at the price that they had before. docs/design/autoscaling.md has the reasons, and what an attacker still can do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from math import exp, inf

from msgspec import Struct, field

WINDOW_SECONDS = 15.0
# That a refused request, or a connection that brings no answered one, costs at most. Measured: 23 ms for a message of
# 16 MiB, the default's largest, that was packed; 4 ms for one that was not. Their bytes are what makes them expensive.
WORST = 25e-3
# Of each byte, 7 times what that packed message costs: scoring rows takes longer than reading them.
BYTE = 10e-9
# And beside the bytes, in CPU. A refusal costs less than an answer, one at a time with TLS: LOOP_PRICE, rounded up.
# A credential is a signature in Python; a handshake of TLS is one of the server, 1.5 ms with RSA of 4096 bits.
REFUSAL, CHECK, CONNECTION, HANDSHAKE = 100e-6, 2e-3, 500e-6, 5e-3
# Of a connection to a TLS port that says nothing. Measured: 0.15 to 0.22 ms in a flood of them.
BARE = 300e-6
# of a loop, per answer, until there was a time without refusals to learn it from: one request at a time on one
# connection with TLS, which is the most expensive way (loadtests/results/hop-tls.md), rounded up
LOOP_PRICE = 75e-6
LEARN_SECONDS = 60.0  # in which a price comes two thirds of the way to what is measured
LEARN_PER_SECOND = 10.0  # fewer answers tell no price: what a loop does without any would be charged to them
SATURATED = 0.9  # of the loops' time: from there on refused work may keep honest requests from being answered

Key = tuple[str, str]  # a model and a version


class VersionWork(Struct, frozen=True):
    """Totals, all over one version. runs: seconds of its runs, None where it runs elsewhere; on_loop: of them, those on
    a loop. held: seconds that requests had permits. permits: that there are, 0 for no limit. waiting: requests that
    wait for one; both now."""

    answered: int = 0
    rows: int = 0
    runs: float | None = None
    on_loop: float = 0.0
    held: float = 0.0
    permits: int = 0
    waiting: int = 0


class Work(Struct, frozen=True):
    """Totals of a server. at: seconds of a clock. workers: that take requests. loop: seconds that their loops have run
    or waited for a core; cpu: that they have run. unwanted: requests that were refused for who sent them or what they
    were, and connections that were refused or closed. unproven: connections that were opened, without those of
    `unwanted` and those that have had a request answered: it may fall. overhead: seconds of CPU that what is unwanted
    has cost at most, but for its bytes; unproven_overhead: that one more of those may. unanswered: bytes that came, or
    that messages became, and of no answered one. bare: connections that have ended without TLS where it is spoken, with
    those whose hello is among `unwanted`."""

    at: float
    workers: int
    cores: int
    loop: float = 0.0
    cpu: float = 0.0
    answered: int = 0
    unwanted: int = 0
    unproven: int = 0
    overhead: float = 0.0
    unproven_overhead: float = 0.0
    unanswered: int = 0
    bare: int = 0
    versions: Mapping[Key, VersionWork] = field(default_factory=dict)


class Price:
    """What an answer costs of one resource, in seconds. prior: until that is known; None where it is not guessed."""

    def __init__(self, prior: float | None = None) -> None:
        self.seconds = prior
        self._learned = False

    def counted(
        self, spent: float, wasted: float, answers: int, window: float, passed: float, *, sure: float = 0.0
    ) -> float:
        """Of the seconds `spent` in a window, `wasted` at most on what was refused, those that count. passed: seconds
        since the last call. sure: seconds that were measured for what is answered, and are a part of its cost."""
        least = min(max(spent - wasted, sure), spent)
        if answers >= LEARN_PER_SECOND * window:
            each = spent / answers
            if self.seconds is None or (wasted == 0 and not self._learned):
                self.seconds, self._learned = each, wasted == 0
            else:
                likely = min(max(self.seconds, least / answers), each)
                self.seconds += (likely - self.seconds) * (1 - exp(-passed / LEARN_SECONDS))
        explained = spent if self.seconds is None else answers * self.seconds
        return min(max(explained, least), spent)


class Utilization:
    """Give it the totals regularly, about once a second. parts: shares by resource, empty before there is a window.
    busy: of the loops' time, whatever it was spent on."""

    def __init__(self) -> None:
        self.parts: Mapping[str, float] = {}
        self.busy = 0.0
        self._window: deque[Work] = deque()
        self._loop = Price(LOOP_PRICE)
        self._runs: dict[Key, Price] = {}
        self._held: dict[Key, Price] = {}
        self._crowded = -inf  # when refused work left the loops no time last
        self._uncrowded: Mapping[str, float] = {}  # the parts of the last window without such a time

    def take(self, now: Work) -> None:
        kept, last = self._window, self._window[-1] if self._window else now
        while len(kept) > 1 and now.at - kept[1].at >= WINDOW_SECONDS:
            kept.popleft()
        kept.append(now)
        if (passed := now.at - last.at) > 0:
            full = now.loop - last.loop > SATURATED * passed * max(now.workers, 1)
            if full and _wasted(last, now) > (1 - SATURATED) * passed:
                self._crowded = now.at
            self._share(kept[0], now, passed)

    def _share(self, before: Work, now: Work, passed: float) -> None:
        seconds, workers = now.at - before.at, max(now.workers, 1)
        wasted = _wasted(before, now)
        spent, answers = max(now.loop - before.loop, 0.0), max(now.answered - before.answered, 0)
        on_loop = sum(
            max(version.on_loop - before.versions[key].on_loop, 0.0)
            for key, version in now.versions.items()
            if key in before.versions
        )
        loop = self._loop.counted(spent, wasted, answers, seconds, passed, sure=on_loop)
        permits = runs = all_runs = 0.0
        for key, version in now.versions.items():
            was = before.versions.get(key)
            if was is None:  # loaded in this window
                continue
            if version.runs is not None:
                took, rows = max(version.runs - (was.runs or 0.0), 0.0), max(version.rows - was.rows, 0)
                took = self._runs.setdefault(key, Price()).counted(took, wasted, rows, seconds, passed)
                runs, all_runs = max(runs, took / (seconds * workers)), all_runs + took
            if version.permits:
                held, answers = max(version.held - was.held, 0.0), max(version.answered - was.answered, 0)
                # a loop that is held up holds up all answers that are due
                late = wasted * version.permits
                held = self._held.setdefault(key, Price()).counted(held, late, answers, seconds, passed)
                permits = max(permits, held / (seconds * version.permits), self._full(key))
        for prices in (self._runs, self._held):
            for gone in prices.keys() - now.versions.keys():
                del prices[gone]
        backend = max(runs, all_runs / (seconds * max(now.cores, 1)))
        self.busy = spent / (seconds * workers)
        parts = {"permits": permits, "loop": loop / (seconds * workers), "backend": backend}
        if self._crowded <= before.at:
            self._uncrowded = parts
        # an attack that leaves honest requests no time must not make the fleet smaller either
        self.parts = {of: max(share, self._uncrowded.get(of, 0.0)) for of, share in parts.items()}

    def _full(self, key: Key) -> float:
        """Share of the looks in this window that found requests waiting for a permit of the version."""
        looks = [*self._window][1:]
        return sum(look.versions[key].waiting > 0 for look in looks if key in look.versions) / len(looks)


def _wasted(before: Work, now: Work) -> float:
    """Seconds of the loops that what was unwanted has cost at most. A loop that waits for a core takes longer for all
    that it does."""
    unproven = max(now.unproven - before.unproven, 0)
    count = max(now.unwanted - before.unwanted, 0) + unproven
    overhead = max(now.overhead - before.overhead, 0.0) + now.unproven_overhead * unproven
    unanswered = max(now.unanswered - before.unanswered, 0)
    waits = max((now.loop - before.loop) / max(now.cpu - before.cpu, 1e-9), 1.0) if now.cpu else 1.0
    bare = max(now.bare - before.bare, 0)
    return (min(WORST * count, overhead + BYTE * unanswered) + BARE * bare) * waits
