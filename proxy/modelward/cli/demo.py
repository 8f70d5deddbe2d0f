"""`modelward demo`: a bundled model behind every guard, on loopback, and a tour of what the guards do."""

import argparse
import asyncio
import contextlib
import logging
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import uvloop
from rich.progress import BarColumn, Progress, TextColumn
from rich.syntax import Syntax
from rich.text import Text

from modelward.cli.output import console, print_json
from modelward.cli.ready import print_ready
from modelward.cli.text import plain
from modelward.demo.client import connected
from modelward.demo.serving import MODEL, FitProgress, Repository, configuration, write_repository
from modelward.demo.snippet import snippet
from modelward.demo.table import Table, load_table
from modelward.demo.tour import ORDINARY_ROW, StepResult, Tour
from modelward.problem import Problem, ProblemsFound
from modelward.server.app import Application, running
from modelward.server.report import describe

HOST = "127.0.0.1"
GRPC_PORT, HTTP_PORT = 8001, 8002
ANY_PORT = 0
HAPPENED, FAILED, INTERRUPTED = 0, 1, 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    free = "port; 0 chooses a free one (default: {} if it is free, else any)"
    parser.add_argument(
        "--exit", action="store_true", help="end after the tour; the exit code is 0 only if every step happened"
    )
    parser.add_argument("--json", action="store_true", help="print the tour as one JSON document")
    parser.add_argument("--grpc-port", type=_port, metavar="N", help=free.format(GRPC_PORT))
    parser.add_argument("--http-port", type=_port, metavar="N", help=free.format(HTTP_PORT))


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 if every step happened, 1 if one did not or there is a problem, 130 if interrupted before."""
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s %(message)s")
    demo = Demo(quiet=arguments.json, stay=not arguments.exit)
    grpc = demo.address("gRPC", arguments.grpc_port, GRPC_PORT, other=arguments.http_port)
    http = demo.address("HTTP", arguments.http_port, HTTP_PORT, other=arguments.grpc_port)
    table = load_table()
    with _temporary_folder() as folder:
        repository = demo.prepare(folder, table)
        try:
            return int(uvloop.run(demo.serve(repository, table, grpc, http)))
        except asyncio.CancelledError:
            return INTERRUPTED


class Demo:
    """One run of the command. quiet: nothing on stdout but one JSON document. stay: serve on after the tour."""

    def __init__(self, *, quiet: bool, stay: bool) -> None:
        self.stay = stay
        self.quiet = quiet
        self.out = console()
        self.out.quiet = quiet

    def say(self, text: str) -> None:
        self.out.print(Text.assemble(("demo  ", "dim"), plain(text)), soft_wrap=True)
        self.out.file.flush()

    def address(self, what: str, wanted: int | None, default: int, other: int | None) -> str:
        """The address to listen on. A default that another process or the `other` flag has is left to it, and said."""
        if wanted is not None:
            return f"{HOST}:{wanted}"
        if default != other and _is_free(default):
            return f"{HOST}:{default}"
        self.say(f"{HOST}:{default} is taken: {what} gets another port")
        return f"{HOST}:{ANY_PORT}"

    def prepare(self, folder: Path, table: Table) -> Repository:
        rows, features = table.rows.shape
        self.say(f"fitting the profile of {MODEL} to its {rows} training rows of {features} features")
        try:
            with _progress() as progress:
                repository = write_repository(folder, table, progress)
        except OSError as error:
            raise _no_room(str(folder), error) from error
        prototypes, slow_ms = repository.profile.describe()["prototypes"], repository.slow_seconds * 1000
        self.say(f"profile fitted: {prototypes} prototypes; a slow model built: {slow_ms:.0f} ms a run")
        return repository

    async def serve(self, repository: Repository, table: Table, grpc: str, http: str) -> int:
        """Serves, takes the tour, and stays until a signal if it is to; a signal during the tour ends it."""
        main = asyncio.current_task()
        assert main is not None
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, main.cancel)
        self.say("opening and warming up both models")
        async with running(configuration(repository.folder, grpc, http)) as application:
            code = snippet(str(application.grpc_address), MODEL, table.rows[ORDINARY_ROW])
            if not self.quiet:
                self._introduce(application, code)
            outcomes = await self._tour(application, repository, table)
            self._sum_up(outcomes)
            if self.quiet:
                print_json(_document(application, outcomes, code))
                sys.stdout.flush()
            if self.stay:
                await self._stay(application)
        return HAPPENED if all(outcome.happened for outcome in outcomes) else FAILED

    def _introduce(self, application: Application, code: str) -> None:
        self.out.print()
        print_ready(describe(application), application.listen)
        self.out.print()
        self.out.print('Paste into a Python with "tritonclient[grpc]":', style="bold")
        self.out.print()
        # lines as they are, without padding, so that they can be pasted from any width of terminal
        self.out.print(Syntax(code, "python", theme="ansi_dark").highlight(code), soft_wrap=True)

    async def _tour(self, application: Application, repository: Repository, table: Table) -> list[StepResult]:
        self.out.print("Live tour, over gRPC", style="bold")
        outcomes = []
        async with connected(str(application.grpc_address)) as client:
            async for outcome in Tour(client, application, repository, table).take():
                self._show(outcome)
                outcomes.append(outcome)
        return outcomes

    def _show(self, outcome: StepResult) -> None:
        mark = ("  ok      ", "bold green") if outcome.happened else ("  FAILED  ", "bold red")
        self.out.print(Text.assemble(mark, (outcome.step.title, "bold")), soft_wrap=True)
        for line in outcome.seen.lines:
            self.out.print(f"          {plain(line)}", soft_wrap=True)
        self.out.file.flush()

    def _sum_up(self, outcomes: list[StepResult]) -> None:
        missed = sum(not outcome.happened for outcome in outcomes)
        told = f"{missed} of {len(outcomes)} did not happen" if missed else f"all {len(outcomes)} happened"
        self.out.print(Text(f"  {told}", "bold red" if missed else "bold green"))
        self.out.print()

    async def _stay(self, application: Application) -> None:
        logging.getLogger().setLevel(logging.WARNING)  # from now on the anomaly log is the user's
        self.say(f"serving on {application.grpc_address} until Ctrl-C")
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await application.drain()


def _document(application: Application, outcomes: list[StepResult], code: str) -> dict[str, object]:
    return {
        "happened": all(outcome.happened for outcome in outcomes),
        "grpc": str(application.grpc_address),
        "http": str(application.http_address),
        "steps": [outcome.as_json() for outcome in outcomes],
        "snippet": code,
    }


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Gone again on leaving, by SIGTERM too. Raises ProblemsFound where there is none to be had."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="modelward-demo-")
    except OSError as error:
        raise _no_room("temporary folder", error) from error
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with folder as path:
            yield Path(path)
    finally:
        signal.signal(signal.SIGTERM, before)


def _no_room(where: str, error: OSError) -> ProblemsFound:
    how = "Make room, or set TMPDIR to a folder that can be written"
    return ProblemsFound([Problem("the demo cannot write its models", where, error.strerror or str(error), how)])


@contextlib.contextmanager
def _progress() -> Iterator[FitProgress]:
    """A bar on stderr, shown to people only."""
    err = console(error=True)
    columns = (TextColumn("      {task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("fitting", total=None)
        yield lambda stage, done, total: bar.update(task, description=stage, completed=done, total=total)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 65535")
    return number
