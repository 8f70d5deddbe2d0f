"""What the admin API can ask of the server it belongs to, and how that answers: plain data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from proxy.config.address import Address
from proxy.config.schema import Config
from proxy.problem import Problem
from proxy.server.report import Report
from proxy.telemetry.snapshot import Snapshot


@dataclass(frozen=True)
class WorkerStatus:
    """One worker's process at this moment. number: as the log calls it."""

    number: int
    pid: int
    state: str
    age_seconds: float
    connections: int
    inflight: int


@dataclass(frozen=True)
class Status:
    """limits_store: in words, where what is owed to limits is kept. report: of the models, None before a worker was
    ready. figures: what workers count outside of shared memory.
    """

    state: str
    uptime_seconds: float
    generation: int
    config: Config
    grpc: Address
    http: Address
    limits_store: str
    workers: Sequence[WorkerStatus]
    report: Report | None
    figures: Snapshot


@dataclass(frozen=True)
class Outcome:
    """Of a reload or a restart: with any problem, nothing has changed."""

    problems: tuple[Problem, ...] = ()
    changed: tuple[str, ...] = ()
    needs_restart: tuple[str, ...] = ()


@dataclass(frozen=True)
class Replaced:
    """A worker takes the place of another. before: that one's process id, 0 where it had died."""

    number: int
    pid: int
    before: int


class NotNow(Exception):
    """The server is starting, draining or restarting; the message says which, and what to do."""


class Operator(Protocol):
    """Called on the loop of the admin API. `reload` and `restart` raise NotNow, and nothing else by intention; a reload
    goes on if its caller is cancelled, and a second restart at a time is not now."""

    def status(self) -> Status: ...

    async def reload(self) -> Outcome: ...

    async def restart(self, replaced: Callable[[Replaced], None]) -> Outcome: ...
