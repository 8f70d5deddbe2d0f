"""A worker: one process of the data plane, started by a supervisor with what it inherits.

`python -m modelward.server SLOT REGION GRPC CHANNEL [READER]`: a slot of the region, and descriptors, the last
one to a process that reads model files, where there is one already. It lives as long as the channel does: a supervisor
that has gone takes its workers with it, once they have finished what is under way.
"""

import asyncio
import gc
import logging
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from typing import cast

import uvloop

from modelward.config.schema import Config
from modelward.models.inventory import facts_of
from modelward.models.opening import OpenVersion
from modelward.models.reader import Reader
from modelward.no_process import refused_thread
from modelward.pickled import REPLACED, Unreadable
from modelward.problem import Problem, ProblemsFound
from modelward.repository.refused import problems_of
from modelward.server.app import Application, Inherited, running
from modelward.server.bind import InheritedSocket
from modelward.server.canary_causes import CanaryCauses
from modelward.server.channel import (
    Answers,
    Channel,
    Contain,
    Drain,
    Failed,
    Loading,
    Ready,
    Reload,
    Reloaded,
    Renewed,
    Rule,
    Ruled,
    Share,
    Shared,
    Start,
    Stats,
    Unsealed,
)
from modelward.server.mishaps import Mishaps
from modelward.server.override import Override
from modelward.server.report import describe
from modelward.tasks import Tasks
from modelward.telemetry import logs
from modelward.telemetry.snapshot import Snapshot
from modelward_native.backend.runtime import note_deaths
from modelward_native.region.region import Region

BEAT_SECONDS = 0.25
# to finish in where the supervisor has gone and cannot say
ORPHAN_SECONDS = 10.0
# in place of an exception that was not expected: its supervisor waits for an answer
DEFECT = Problem(
    "this failed by a defect of Modelward, and what was served before goes on",
    "the worker",
    "its log has the exception",
    "Report it with that part of the log; `modelward restart` starts workers with the new configuration",
)

log = logging.getLogger("modelward.worker")


class Worker:
    def __init__(self, region: Region, channel: Channel, reader: Reader) -> None:
        self._region = region
        self._channel = channel
        self._reader = reader
        self._said = ""
        self._unanswered = ""
        self._stats = Snapshot()
        self._causes = CanaryCauses()
        self._unsealed: Mapping[tuple[str, str], tuple[str, str]] = {}

    async def serve(self, start: Start, grpc: int) -> int:
        """Until it is told to drain; 0, or 1 if it never could."""
        config, loop = start.config, asyncio.get_running_loop()

        def progress(what: str) -> None:  # called in the thread that opens models
            loop.call_soon_threadsafe(self._channel.send, Loading(what))

        bound = InheritedSocket(socket.socket(fileno=grpc), config.listen.grpc)
        inherited = Inherited(self._region, bound, self._reader.reading)
        beating = loop.create_task(self._beat())
        try:
            async with running(
                config,
                progress,
                inherited,
                start.shares,
                start.slow,
                contained=start.contained,
                facts=start.facts,
                approved=start.approved,
                override=start.override,
                opened=self._tell_unsealed,
            ) as application:
                beating.cancel()
                beating = loop.create_task(self._beat(application))
                self._publish(application)  # before it counts as ready
                self._channel.send(Ready(describe(application)))
                application.serving.judged = lambda: self._tell_causes(application)
                application.serving.changed = lambda: self._channel.send(Renewed(describe(application)))
                told = await self._told_to_drain(application)
                await application.drain(told.seconds, told.delay)
                self._publish(application)
        except ProblemsFound as found:
            self._channel.send(Failed(found.problems))
            return 1
        except RuntimeError as error:
            if (refused := refused_thread(error)) is None:
                raise
            self._channel.send(Failed((refused,)))
            return 1
        finally:
            beating.cancel()
        return 0

    def _tell_causes(self, application: Application) -> None:
        if (causes := application.serving.canary_causes) != self._causes:
            self._causes = causes
            self._channel.send(causes)

    def _tell_unsealed(self, models: Sequence[OpenVersion]) -> None:
        found = facts_of(model.checked for model in models)
        unsealed = {
            (name, version): (each.digest, each.key)
            for name, versions in found.items()
            for version, each in versions.items()
            if each.key
        }
        if unsealed != self._unsealed:
            self._unsealed = unsealed
            self._channel.send(Unsealed(unsealed))

    async def _told_to_drain(self, application: Application) -> Drain:
        """Waits; how long it may take."""
        terminated = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminated.set)
        by_signal = asyncio.ensure_future(terminated.wait())
        by_message = asyncio.ensure_future(self._listen(application))
        done, _ = await asyncio.wait((by_signal, by_message), return_when=asyncio.FIRST_COMPLETED)
        for task in (by_signal, by_message):
            task.cancel()
        return by_message.result() if by_message in done else Drain(ORPHAN_SECONDS)

    async def _listen(self, application: Application) -> Drain:
        tasks = Tasks()
        async for message in self._channel:
            match message:
                case Rule(config):
                    tasks.spawn(self._rule(application, config))
                case Reload(config):
                    tasks.spawn(self._reload(application, config))
                case Share(shares, approved):
                    application.serving.share(shares, approved)
                    self._channel.send(Shared())
                case Override():
                    application.serving.follow_override(message)
                    self._channel.send(Shared())
                case Contain(contained):
                    application.serving.contain(contained)
                case Drain():
                    return message
        return Drain(ORPHAN_SECONDS)

    async def _rule(self, application: Application, config: Config) -> None:
        try:
            changed = await application.serving.follow_rules(config)
        except ProblemsFound as found:
            self._channel.send(Ruled(found.problems))
        except Exception as error:
            log.exception("the settings could not be followed")
            self._channel.send(Ruled((refused_thread(error) or DEFECT,)))
        else:
            self._channel.send(Ruled(changed=tuple(changed)))

    async def _reload(self, application: Application, config: Config) -> None:
        try:
            changed = await application.serving.follow_models(config)
        except ProblemsFound as found:
            self._channel.send(Reloaded(None, found.problems))
        except Exception as error:
            log.exception("the models could not be followed")
            self._channel.send(Reloaded(None, (refused_thread(error) or DEFECT,)))
        else:
            self._channel.send(Reloaded(describe(application), problems_of(application.refused), tuple(changed)))

    async def _beat(self, application: Application | None = None) -> None:
        while True:
            self._region.beat(time.monotonic_ns())
            if application is not None:
                self._publish(application)
            await asyncio.sleep(BEAT_SECONDS)

    def _publish(self, application: Application) -> None:
        if application.answering.reason != self._unanswered:
            self._unanswered = application.answering.reason
            self._channel.send(Answers(self._unanswered))
        self._tell_causes(application)  # before the figures that they explain
        stats = application.cold()
        if stats != self._stats:
            self._stats = stats
            self._channel.send(Stats(stats))


async def work(slot: int, region: int, grpc: int, channel: int, *reader: int) -> int:
    """The process, from its first message to its end."""
    given = socket.socket(fileno=reader[0]) if reader else None
    talk = await Channel.over(socket.socket(fileno=channel))
    try:
        start = cast(Start, await talk.receive())
        logs.configure(start.config.log, start.log_level, slot)
        asyncio.get_running_loop().set_exception_handler(Mishaps())
        joined = Region.joined(region, slot)
        note_deaths(joined)
        code = await Worker(joined, talk, Reader(given)).serve(start, grpc)
    except Unreadable as error:
        log.error("what the supervisor says cannot be read: %s. %s", error, REPLACED)
        talk.send(Failed((REPLACED,)))
        code = 1
    await talk.close()
    return code


def main(arguments: Sequence[str]) -> int:
    gc.freeze()  # modules stay: no collection looks at them again, nor does the one at the end of the process
    # a terminal's Ctrl-C goes to all processes, and is the supervisor's to answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        return int(uvloop.run(work(*map(int, arguments))))
    except RuntimeError as error:  # the loop starts a thread to end those that there are
        if refused_thread(error) is None:
            raise
        return 1
