"""The configuration of a server, read and checked in a child process that ends then: what checks it takes memory
and much of the start, and the processes that serve have no use for it."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from modelward.child import Bounds, Child, ChildEnded
from modelward.config.settings_files import SettingsFiles
from modelward.no_process import NoProcess
from modelward.problem import Problem, ProblemsFound

if TYPE_CHECKING:
    from logging import LogRecord

    from modelward.config.schema import Config

BOUNDS = Bounds(seconds=60.0)
UNREAD = "the configuration cannot be read"
HOW = "Start it again; with less in the configuration, or more memory, where that is what it lacks"


@dataclass(frozen=True)
class Read:
    """What a child tells. config: None where there are problems. texts, places: as SettingsFiles. records: what it has
    logged."""

    config: Config | None
    problems: tuple[Problem, ...]
    texts: Mapping[str, bytes]
    places: Mapping[str, Path]
    records: list[LogRecord] = field(default_factory=list)


def is_unread(problems: Iterable[Problem]) -> bool:
    """Whether the process that reads it has ended before it could say anything: the next one may."""
    return any(each.what == UNREAD for each in problems)


class Reading:
    """Reads it again and again, each time in a child of its own. Its calls may come from several threads."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        """Begins with what the files say now. arguments: as modelward.config.arguments has them."""
        self._arguments = argparse.Namespace(**{key: value for key, value in vars(arguments).items() if key != "run"})
        self._first: Child[Read] | None = None
        with suppress(ChildEnded, NoProcess):  # told when it is read
            self._first = self._child(None, again=False)

    def load(self, files: SettingsFiles, again: bool) -> Config:
        """As modelward.config.load. Raises ProblemsFound, WrongUsage."""
        child, self._first = self._first, None
        if child is not None and (again or files.given is not None):
            child.end()
            child = None
        try:
            read = (child or self._child(files.given, again=again)).result()
        except (
            ChildEnded,
            MemoryError,
            SystemError,
            ImportError,
        ) as ended:  # as the interpreter tells a want of memory
            told = str(ended) if isinstance(ended, ChildEnded) else f"{type(ended).__name__} was raised"
            what, why = UNREAD, f"the process that reads it: {told}"
            raise ProblemsFound([Problem(what, str(self._arguments.config or "command line"), why, HOW)]) from None
        for record in read.records:
            logging.getLogger(record.name).handle(record)
        files.texts.update(read.texts)
        files.places.update(read.places)
        if read.config is None:
            raise ProblemsFound(read.problems)
        return read.config

    def _child(self, given: Mapping[str, bytes] | None, *, again: bool) -> Child[Read]:
        return Child(BOUNDS, _read, self._arguments, given, again, secret=given is not None)


def _read(arguments: argparse.Namespace, given: Mapping[str, bytes] | None, again: bool) -> Read:
    """In the child."""
    from logging.handlers import QueueHandler  # noqa: PLC0415 - in the child alone
    from queue import SimpleQueue  # noqa: PLC0415

    from modelward.config.from_arguments import from_arguments  # noqa: PLC0415

    said: SimpleQueue[LogRecord] = SimpleQueue()
    logging.getLogger().addHandler(QueueHandler(said))
    files, config = SettingsFiles(given), None
    problems: tuple[Problem, ...] = ()
    try:
        config = from_arguments(arguments, again=again, files=files)
    except ProblemsFound as found:
        problems = found.problems
    return Read(config, problems, files.texts, files.places, [said.get() for _ in range(said.qsize())])
