"""A witness is kept up to date with a log: what it is sent, and what its answers mean."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from modelward.audit.log import Gone, Reader
from modelward.audit.merkle import consistency_proof
from modelward.audit.note import Checkpoint, Note, NotSigned, Verifier
from modelward.audit.tiles import nodes
from modelward.audit.verify import checked
from modelward.audit.witness import CONFLICT, OK, SIZE_TYPE, UNPROVED, Answer, Request

MOST_TRIES = 4
LONGEST_WORDS = 200
LONGEST_SKEW = 24 * 3600.0  # of a cosignature's time

P = ParamSpec("P")
T = TypeVar("T")

Post = Callable[["Submission", bytes], Awaitable[Answer]]
"""Sends a request to the witness. Raises OSError."""


class Refused(Exception):
    """The witness remembers another history of the log: it was rewritten, or cut off. The message tells."""


class Failed(Exception):
    """The witness, or the log, did not answer as it should; the message says how."""


class Submission:
    """One log and one witness. log: its key. witness: the key of its cosignatures; None where it gives none. seen: the
    note that it has seen last, with its cosignature.

    What blocks runs on a thread of its own: a volume that hangs takes no thread from others.
    """

    def __init__(self, reader: Reader, log: Verifier, post: Post, witness: Verifier | None) -> None:
        self.size = 0  # up to which it has seen the log
        self.seen: Note | None = None
        self._reader = reader
        self._log = log
        self._post = post
        self._witness = witness
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="witness")

    async def blocking(self, work: Callable[P, T], /, *given: P.args, **named: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(work, *given, **named))

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def newest(self) -> int:
        """The size of the log, as it says. Raises Failed."""
        try:
            return Checkpoint.parse(self._reader.note().text).size
        except (OSError, NotSigned) as error:
            raise Failed(f"the log cannot be read: {error}"[:LONGEST_WORDS]) from None

    async def send(self) -> None:
        """The newest checkpoint. Raises Refused, Failed."""
        try:
            await self._send()
        except OSError as error:
            raise Failed((error.strerror or str(error) or type(error).__name__)[:LONGEST_WORDS]) from None
        except (Gone, NotSigned, ValueError) as error:
            raise Failed(f"the log cannot be read: {error}"[:LONGEST_WORDS]) from None

    async def _send(self) -> None:
        old = self.size
        for _ in range(MOST_TRIES):
            note = await self.blocking(self._reader.note)
            checkpoint = checked(note, self._log)
            if old > checkpoint.size:
                raise Refused(f"it has seen {old} records, and the log has {checkpoint.size}: it was cut off")
            answer = await self._post(self, bytes(await self.blocking(self._request, old, checkpoint, note)))
            if answer.status == OK:
                self.seen = self._cosigned(note, answer)
                self.size = checkpoint.size
                return
            if (size := _size(answer)) is None:
                break
            old = size
        words = " ".join(answer.body.split())[:LONGEST_WORDS]
        if answer.status == UNPROVED:
            raise Refused(words)
        raise Failed(f"it answers {answer.status}: {words}")

    def _request(self, old: int, checkpoint: Checkpoint, note: Note) -> Request:
        """Raises Gone, ValueError, OSError."""
        size = checkpoint.size
        proof = [] if old in (0, size) else consistency_proof(old, size, nodes(size, self._reader.hashes))
        return Request(old, tuple(proof), bytes(note))

    def _cosigned(self, note: Note, answer: Answer) -> Note:
        if self._witness is None:
            return note
        try:
            found = Note.parse(f"{note.text}\n{answer.body}".encode())
            at = found.verify(self._witness)
        except NotSigned as error:
            raise Failed(f"its cosignature does not verify: {error}") from None
        if abs(at - time.time()) > LONGEST_SKEW:
            raise Failed("its cosignature is of another time")
        return Note(note.text, (*note.signatures, *found.signatures))


def _size(answer: Answer) -> int | None:
    """Which it remembers, where it was taken to remember another."""
    text = answer.body.strip()
    known = answer.status == CONFLICT and answer.type.startswith(SIZE_TYPE)
    return int(text) if known and text.isdecimal() and len(text) < 20 else None
