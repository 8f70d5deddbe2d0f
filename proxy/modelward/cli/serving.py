"""The server of `modelward serve`: from its configuration, until SIGTERM or SIGINT, to its end."""

import argparse
import asyncio
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from modelward import tunables
from modelward.admin.operator import NotNow
from modelward.admin.recorded import Recorded
from modelward.approvals.configuration import Configuration, agreed
from modelward.audit.record import Actor
from modelward.cli.output import console, give_stdout_up, is_terminal, print_problems
from modelward.cli.ready import print_json_ready, print_ready
from modelward.config import triton
from modelward.config.log import LogSettings
from modelward.config.named_files import read_at_reloads
from modelward.config.outer_state import state_of_arguments
from modelward.config.reading import Reading, is_unread
from modelward.config.schema import Config
from modelward.config.sources import unread
from modelward.models import reader_process
from modelward.models.runtime import runtime
from modelward.operators import examine as operators
from modelward.problem import ProblemsFound
from modelward.sealing.keyring import Keyring
from modelward.server import descriptors
from modelward.server.mishaps import Mishaps
from modelward.supervisor.activation import inherited_sockets
from modelward.supervisor.notify import Notifier
from modelward.supervisor.prefork import Preforked, can_fork, prefork
from modelward.supervisor.state_lock import locked
from modelward.supervisor.supervisor import Supervisor
from modelward.supervisor.watch import watch
from modelward.tasks import Tasks
from modelward.telemetry import logs
from modelward.tunables import MALLOC_TUNABLES

log = logging.getLogger("modelward.serve")

T = TypeVar("T")


def run(arguments: argparse.Namespace, reading: Reading, reader: reader_process.Forked | None) -> int:
    """Exit code: 0 after a drain, 1 where a problem prevents serving. reading: has begun. reader: where models were
    foreseen."""
    level = triton.log_level(arguments)
    logs.configure(LogSettings(), level)  # until the configuration is read
    try:
        sockets, notifier = inherited_sockets(), Notifier()
        folder = state_of_arguments(arguments)
        configuration = Configuration(reading.load, folder, partial(agreed, folder), Keyring().given_to)
        if can_fork(MALLOC_TUNABLES):
            import_module("modelward.server.worker")  # for the forks, while the configuration is read
        config = configuration.first()
        logs.configure(config.log, level)
        configuration.tell()
        descriptors.raise_limit()
        for note in (*tunables.notes, *unread(os.environ), *descriptors.notes(config), *operators.notes(config)):
            log.warning("%s", note)
        if reader is not None and config.repository is None:
            reader.end()
            reader = None
        with locked(config.state):
            workers = _prefork(config, [each.socket for each in sockets.values()], reader)
            supervisor = Supervisor(config, level, configuration, sockets, notifier)
            supervisor.preforked = workers
            asyncio.run(serve(supervisor, arguments.config, reader))
    except ProblemsFound as found:
        print_problems(found.problems)
        return 1
    return 0


def _prefork(config: Config, ours: Sequence[socket.socket], reader: reader_process.Forked | None) -> list[Preforked]:
    if config.listen.admin is not None:
        import_module("modelward.admin.server")  # brings much that workers have too, and is to be shared with them
    gc.enable()  # all is imported (modelward.__main__)

    def prepare() -> None:
        if config.repository is not None:
            with suppress(ProblemsFound):  # told where a model is opened
                runtime()

    return prefork(config.workers, MALLOC_TUNABLES, prepare, ours, reader)


async def serve(supervisor: Supervisor, file: Path | None = None, reader: reader_process.Forked | None = None) -> None:
    """Serves until a signal, then drains; a second signal ends at once.

    SIGHUP, or a change of what is watched, reloads; SIGUSR2 replaces the workers, one by one.
    file: that the configuration is read from. reader: ends when the first workers are ready.
    """
    config = supervisor.config
    signalled = asyncio.Event()
    asked = Tasks()

    async def ask(what: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
        try:
            return await what()
        except NotNow as why:
            log.warning("%s", why)
        except Exception:
            log.exception("this failed by a defect of Modelward, and what was served before goes on")
        return None

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(Mishaps())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled.set)
    status = console(error=True).status("loading models") if is_terminal(error=True) else None
    with status or nullcontext():
        restart = partial(Recorded(supervisor, _signal("SIGUSR2")).restart, lambda worker: None, "SIGUSR2")
        reload = partial(Recorded(supervisor, _signal("SIGHUP")).reload, "SIGHUP")
        loop.add_signal_handler(signal.SIGUSR2, lambda: asked.spawn(ask(restart)))
        loop.add_signal_handler(signal.SIGHUP, lambda: asked.spawn(ask(reload)))
        started = asyncio.Event()

        async def follow() -> bool:
            await started.wait()  # what changes while the first workers load is served when they are ready
            outcome = await ask(supervisor.reload)
            return outcome is None or not is_unread(outcome.problems)

        def progress(what: str) -> None:
            if status is not None:
                status.update(what if what.startswith("waiting ") else f"loading {what}")

        def served() -> Path | None:
            return supervisor.config.repository

        def named() -> list[Path]:
            return read_at_reloads(supervisor.config)

        def not_followed() -> None:
            supervisor.watch_failures += 1

        if config.watch:
            asked.spawn(watch(file, served, follow, not_followed, named))
        try:
            starting = loop.create_task(supervisor.start(progress))
            await _first(starting, signalled.wait())
            if starting.done():
                await starting
                started.set()
            if reader is not None:
                reader.end()
        except BaseException:
            await supervisor.stop()
            raise
    try:
        if not signalled.is_set():
            try:
                show = print_json_ready if config.log.format == "json" else print_ready
                show(supervisor.report, supervisor.config.listen, config.workers)
            except OSError as error:  # READY is information: a server that has lost its reader serves on
                give_stdout_up()
                log.warning("ready, but stdout cannot be written, and READY is not shown: %s", error.strerror)
            await _first(signalled.wait(), supervisor.drain_asked.wait())
            signalled.clear()
            await _first(supervisor.drain(), signalled.wait())
    finally:
        asked.cancel()
        await supervisor.stop()


def _signal(name: str) -> Actor:
    """The kernel does not tell who has sent it."""
    return Actor(name=name, origin="signal")


async def _first(*work: Coroutine[Any, Any, Any] | asyncio.Task[Any]) -> None:
    """Waits for the first to end and cancels the others."""
    tasks = [asyncio.ensure_future(each) for each in work]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
