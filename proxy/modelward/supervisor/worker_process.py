"""A worker's process as its supervisor holds it: started, talked to, watched, ended."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from math import inf
from typing import Self

from modelward.child import import_path
from modelward.no_process import no_process
from modelward.problem import Problem
from modelward.server.canary_causes import CanaryCauses
from modelward.server.channel import (
    Answers,
    Channel,
    Drain,
    Failed,
    Message,
    Ready,
    Reloaded,
    Renewed,
    Ruled,
    Shared,
    Stats,
    Unsealed,
)
from modelward.server.report import Report
from modelward.supervisor.prefork import Preforked
from modelward.telemetry.snapshot import Snapshot
from modelward.tunables import tuned

# beyond what a worker may take to drain, until it counts as hanging
MARGIN_SECONDS = 5.0


class WorkerProcess:
    """Use `start`. number: of its part of the region, and as the log calls it. started: monotonic seconds."""

    def __init__(self, number: int, process: subprocess.Popen[bytes] | Preforked, channel: Channel) -> None:
        self.number = number
        self.channel = channel
        self.started = time.monotonic()
        self.report: Report | None = None  # once it is ready
        self.unsealed: Mapping[tuple[str, str], tuple[str, str]] = {}  # as in the message; also before it is ready
        self.ruled: Ruled | None = None  # what became of the last rules; None while they are not answered
        self.reloaded: Reloaded | None = None  # what became of the last reload; None while it lasts
        self.unanswered = ""  # why it can answer for no model; empty while it can for one
        self.problems: tuple[Problem, ...] = ()  # why it cannot serve
        self.draining = False
        self.died_of_load = False  # the next worker does not load that again
        self.over_at = inf  # monotonic seconds; when it must have ended
        self.hung = False
        self.unshared = 0  # shares that it has been told, and has not answered
        self.stats = Snapshot()
        self.canary_causes = CanaryCauses()
        self._process = process
        self._handle = os.pidfd_open(process.pid)

    @classmethod
    async def start(cls, number: int, inherited: tuple[int, ...], preforked: list[Preforked]) -> Self:
        """inherited: descriptors, in the order in which modelward.server.worker takes them. preforked: one that is left
        of these is taken; otherwise it is started by exec. Raises NoProcess."""
        ours, theirs = socket.socketpair()
        with theirs:
            descriptors = (*inherited, theirs.fileno())
            while preforked:
                forked = preforked.pop()
                if forked.begin(number, descriptors):
                    return cls(number, forked, await Channel.over(ours))
            # -P and the same path: what it imports is what we have imported, wherever it is started
            command = [sys.executable, "-P", "-m", "modelward.server", *map(str, (number, *descriptors))]
            try:
                popen = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, pass_fds=descriptors, env=environment(os.environ)
                )
            except OSError as error:
                ours.close()
                raise no_process(error) from None
        return cls(number, popen, await Channel.over(ours))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ready(self) -> bool:
        return self.report is not None and not self.draining

    @property
    def state(self) -> str:
        """In one word."""
        if self.hung or self.draining:
            return "hung" if self.hung else "draining"
        return "ready" if self.report is not None else "starting"

    def tell(self, message: Message) -> None:
        self.channel.send(message)

    def take(self, message: Message) -> None:
        """What it has said."""
        match message:
            case Ready(report) | Renewed(report):
                self.report = report
            case Unsealed(versions):
                self.unsealed = versions
            case Ruled():
                self.ruled = message
            case Reloaded(report=report):
                self.reloaded = message
                self.report = report or self.report
            case Answers(reason):
                self.unanswered = reason
            case CanaryCauses():
                self.canary_causes = message
            case Shared():
                self.unshared -= 1
            case Failed(problems):
                self.problems = problems
            case Stats(snapshot):
                self.stats = snapshot

    def drain(self, seconds: float, delay: float = 0) -> None:
        """After the delay it takes no more connections, finishes what is under way and ends."""
        self.draining = True
        self.over_at = time.monotonic() + delay + seconds + MARGIN_SECONDS
        self.channel.send(Drain(seconds, delay))

    def kill(self) -> None:
        """Ends it at once, if it has not ended."""
        try:
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        except ProcessLookupError:
            return

    async def ended(self) -> int:
        """Waits; the exit code, or the number of the signal below zero. To be awaited once."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._handle, ended.set)
        await ended.wait()
        loop.remove_reader(self._handle)
        code = self._process.wait()
        await self.channel.close()
        os.close(self._handle)  # last: until it is known to have ended, others may kill it
        return code


def environment(ours: Mapping[str, str]) -> dict[str, str]:
    """What a worker is started with, given our own variables: the same path to import from, and how malloc caches."""
    return {**ours, "PYTHONPATH": import_path(), "GLIBC_TUNABLES": tuned(ours.get("GLIBC_TUNABLES", ""))}
