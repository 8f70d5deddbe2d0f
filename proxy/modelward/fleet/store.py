"""What the servers of a fleet ask of their store. It holds bytes, and believes nothing of them.

A document has an epoch, and is changed only by who has seen the present one (compare-and-set). Its revision is another
one after every change, and after the store has lost what it held. A lease names the one server that leads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

TIMEOUT_SECONDS = 1.0
"""Of a connection, and of an answer: a store that is slower is gone."""
LEASE_SECONDS = 2.5
KEPT_SECONDS = 60.0
"""A server that was not heard of for so long is forgotten."""
MOST_REPLICAS = 256
MOST_DOCUMENTS = 4096
"""That are told at once. Any number is taken, so that those of other programs keep no rollback out."""
LARGEST_DOCUMENT = 64 << 10
LONGEST_REPLICA = 64  # characters, as modelward.config.fleet has it
LONGEST_DOCUMENT_NAME = 512  # bytes
LONGEST_WORD = 1024  # bytes of a revision, which names a document, and of the one that leads
LONGEST_WHY = 300  # characters of what went wrong
LARGEST_NOTE = 16 << 10  # what a server says of itself
LARGEST_EVIDENCE = 1 << 20
MOST_TOLD = 8 << 20
MOST_COUNTED = 16 << 20
"""Bytes of all documents, and of what all servers have counted: of more some is left out of an answer."""


class StoreError(Exception):
    """The store cannot be had, or does not answer as it should; the message says why."""

    def __str__(self) -> str:
        return super().__str__().rstrip(".") or "no answer in time"


class NotTaken(StoreError):
    """The store answers, and does not take this document."""


class Document(Struct, frozen=True):
    epoch: int
    data: bytes


class Seen(Struct, frozen=True):
    """documents: None where they are those of the revision that was asked with. leader: a server, by its identity.
    said: the note that was under this server's name before, empty for none. endless: the lease would not have ended in
    time, and has an end now."""

    revision: str
    leader: str
    documents: Mapping[str, Document] | None
    said: bytes = b""
    endless: bool = False


class Told(Struct, frozen=True):
    """What a server has said last, `age` seconds ago."""

    age: float
    data: bytes


class Store(Protocol):
    """Every call ends within about TIMEOUT_SECONDS, or raises StoreError; the next call connects again."""

    where: str

    async def exchange(
        self,
        replica: str,
        *,
        identity: str,
        note: bytes,
        evidence: bytes,
        revision: str,
        may_lead: bool,
        names: Sequence[str] = (),
    ) -> Seen:
        """Says what this server knows, and asks what has changed since `revision`. identity: of this process; it leads
        where it may, and no other does. names: of documents that are told first, and without their data where all would
        take more than MOST_TOLD; others are told where there is room."""

    async def swap(self, name: str, before: int, epoch: int, data: bytes) -> Document | None:
        """Puts a document in the place of that of epoch `before`, 0 for none. What is there instead; None where it was
        put."""

    async def notes(self) -> Mapping[str, Told]:
        """What each server says of itself."""

    async def evidence(self) -> Mapping[str, Told]:
        """What each server has counted."""

    async def leave(self, replica: str, identity: str) -> None:
        """This server ends: it leads no more, and is forgotten."""

    async def close(self) -> None: ...
