"""Between the supervisor and a worker: what they tell each other, and the socket that carries it.

Pickled, since both ends are this program, the one started by the other; no other process has the socket.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from typing import Self

from msgspec import Struct, field

from modelward import pickled
from modelward.config.schema import Config
from modelward.models.approved import Approved
from modelward.models.facts import FactsByVersion
from modelward.models.weights import Shares
from modelward.problem import Problem
from modelward.server.canary_causes import CanaryCauses
from modelward.server.containment import Contained
from modelward.server.override import NOTHING, Override
from modelward.server.report import Report
from modelward.telemetry.snapshot import Snapshot

_LENGTH = struct.Struct("!I")


class Start(Struct, frozen=True):
    """The first message: what to serve. listen.grpc is the address of the inherited socket. shares, approved, contained
    and override: as in Share, Contain and Override. slow: hashes of files of models that other workers have given up.
    facts: of the versions that they serve; a newer one must not lack their guards.
    """

    config: Config
    log_level: str | None
    shares: Shares
    slow: frozenset[str] = frozenset()
    contained: tuple[Contained, ...] = ()
    facts: Mapping[str, FactsByVersion] = field(default_factory=dict)
    approved: Approved | None = None
    override: Override = NOTHING


class Rule(Struct, frozen=True):
    """Follow all of it that is not about models. Answered with Ruled, at once."""

    config: Config


class Ruled(Struct, frozen=True):
    """problems: why the old rules stay. changed: in words."""

    problems: tuple[Problem, ...] = ()
    changed: tuple[str, ...] = ()


class Reload(Struct, frozen=True):
    """Follow what is about models. Answered with Reloaded, which may take long."""

    config: Config


class Share(Struct, frozen=True):
    """How requests are shared, whatever the configuration says, and which versions may answer where promotions need
    approvals. Answered with Shared."""

    shares: Shares
    approved: Approved | None = None


class Shared(Struct, frozen=True):
    """The last of the shares or overrides that were told are obeyed."""


class Contain(Struct, frozen=True):
    """What is not to be run any more; what is not named is."""

    contained: tuple[Contained, ...]


class Drain(Struct, frozen=True):
    """After `delay` seconds finish what is under way within `seconds`, then end. Readiness is off at once."""

    seconds: float
    delay: float = 0


class Loading(Struct, frozen=True):
    """What the worker is busy with, or waits for, before it is ready."""

    what: str


class Unsealed(Struct, frozen=True):
    """Before they are served. versions: all that were sealed and are open; digest and name of the key, by model and
    version."""

    versions: Mapping[tuple[str, str], tuple[str, str]]


class Ready(Struct, frozen=True):
    report: Report


class Renewed(Struct, frozen=True):
    """An upstream has changed. report: of what is served now."""

    report: Report


class Answers(Struct, frozen=True):
    """Whether a model can be answered. reason: why none can, empty while one can."""

    reason: str


class Failed(Struct, frozen=True):
    """It cannot serve this, and ends."""

    problems: tuple[Problem, ...]


class Reloaded(Struct, frozen=True):
    """report: of what is served now; None where all models are as they were, because of the problems. With a report
    they are those of single models that were refused.

    changed: in words.
    """

    report: Report | None
    problems: tuple[Problem, ...] = ()
    changed: tuple[str, ...] = ()


class Stats(Struct, frozen=True):
    """What a worker counts elsewhere than in the region, since its start."""

    snapshot: Snapshot


Message = (
    Start
    | Unsealed
    | CanaryCauses
    | Rule
    | Ruled
    | Reload
    | Share
    | Contain
    | Override
    | Drain
    | Loading
    | Ready
    | Renewed
    | Answers
    | Failed
    | Reloaded
    | Shared
    | Stats
)


class Channel:
    """One end. Iterate over what the other end says, until it has gone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, connected: socket.socket) -> Self:
        """Takes the socket over."""
        return cls(*await asyncio.open_unix_connection(sock=connected))

    def send(self, message: Message) -> None:
        """Does not wait; what is said to an end that has gone is lost."""
        data = pickled.dumps(message)
        self._writer.write(_LENGTH.pack(len(data)) + data)

    async def receive(self) -> Message | None:
        """The next message, None once the other end has gone. Raises modelward.pickled.Unreadable."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            message: Message = pickled.loads(await self._reader.readexactly(length))
            return message
        return None

    async def __aiter__(self) -> AsyncIterator[Message]:
        while (message := await self.receive()) is not None:
            yield message

    async def close(self) -> None:
        """Once everything that was said is with the other end, or that has gone."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
