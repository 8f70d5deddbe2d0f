"""A pod as the autoscaler sees it: it spends what was measured per request, and measures itself as a server does."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random

from msgspec.structs import replace

from loadtests.tools import results
from modelward.telemetry.utilization import HANDSHAKE, REFUSAL, Utilization, VersionWork, Work

SCRAPE_SECONDS = 15
LATE_SECONDS = 0.5  # a request that would wait longer is refused
IDLE_LOOP = 0.003  # of a loop's time that goes by without any request
KEY = ("m", "1")


@dataclass(frozen=True)
class Kind:
    """A pod of one worker and one core. answer, refusal: seconds of the loop for each. permits, service: of the model
    server behind it, at a time and seconds each; 0 where the model runs on the loop."""

    name: str
    answer: float
    refusal: float
    permits: int = 0
    service: float = 0.0

    @property
    def capacity(self) -> float:
        """Requests a second."""
        by_loop = (1 - IDLE_LOOP) / self.answer
        return min(by_loop, self.permits / self.service) if self.permits else by_loop


def kinds() -> tuple[Kind, Kind]:
    """With the costs that other load tests have measured."""
    refusal = _cpu("race", "modelward, refusing")
    here = Kind("the model runs here", _cpu("race", "modelward, identities and budgets"), refusal)
    # the model server of the siege and of the overload: 4 slots of 5 ms
    hop = Kind("before a model server", _cpu("hop", "modelward, identities and budgets"), refusal, 4, 0.005)
    return here, hop


def _cpu(file: str, server: str) -> float:
    """Seconds per request at 8 connections with 16 streams each."""
    found = json.loads((results.FOLDER / f"{file}.json").read_text())["results"]["8x16"]
    return next(float(row["cpu_us"]) for row in found if row["name"] == server) / 1e6


@dataclass(frozen=True)
class Attack:
    """What is refused, on each second and each pod. loop: share of the loop that it takes. size: bytes of a request."""

    loop: float = 0.0
    requests: float = 0.0
    size: float = 0.0
    connections: float = 0.0


@dataclass
class Pod:
    """ready: from when on it takes requests. scraped: seconds into each scrape interval at which it is scraped."""

    kind: Kind
    ready: float
    scraped: int
    work: Work | None = None
    backlog: float = 0.0
    busy: float = 0.0  # share of the core in the last step: what an autoscaler on CPU would see
    cpu: float | None = None
    metric: float | None = None
    seen: Utilization = field(default_factory=Utilization)

    def step(self, now: float, seconds: float, came: float, attack: Attack) -> float:
        """Honest requests that came in these seconds; how many of them are refused."""
        if self.work is None:
            version = VersionWork(permits=self.kind.permits)
            self.work = Work(at=now - seconds, workers=1, cores=1, versions={KEY: version})
            self.seen.take(self.work)
        left = max(1 - IDLE_LOOP - attack.loop, 0.0)
        capacity = left / self.kind.answer
        if self.kind.permits:
            capacity = min(capacity, self.kind.permits / self.kind.service)
        answered = min(came + self.backlog, capacity * seconds)
        waiting = came + self.backlog - answered
        self.backlog = min(waiting, capacity * LATE_SECONDS)
        spent = answered * self.kind.answer + (attack.loop + IDLE_LOOP) * seconds
        self.busy = min(spent / seconds, 1.0)
        self._count(now, seconds, answered, spent, attack)
        return waiting - self.backlog

    def _count(self, now: float, seconds: float, answered: float, spent: float, attack: Attack) -> None:
        assert self.work is not None
        was = self.work.versions[KEY]
        total = self.work.answered + round(answered)
        version = replace(
            was, answered=total, held=was.held + answered * self.kind.service, waiting=round(self.backlog)
        )
        requests, connections = round(attack.requests * seconds), round(attack.connections * seconds)
        self.work = replace(
            self.work,
            at=now,
            loop=self.work.loop + spent,
            answered=total,
            unwanted=self.work.unwanted + requests + connections,
            overhead=self.work.overhead + REFUSAL * requests + HANDSHAKE * connections,
            unanswered=self.work.unanswered + round(requests * attack.size),
            versions={KEY: version},
        )
        self.seen.take(self.work)

    def scrape(self) -> None:
        self.metric = max(self.seen.parts.values()) if self.seen.parts else None
        self.cpu = self.busy if self.work is not None else None


def new_pod(kind: Kind, now: float, start: float, scheduling: float, random: Random) -> Pod:
    """start, scheduling: seconds until it is ready."""
    return Pod(kind, now + start + scheduling * random.uniform(0.7, 1.3), random.randrange(SCRAPE_SECONDS))
