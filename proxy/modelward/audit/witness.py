"""A witness of logs (https://c2sp.org/tlog-witness): it remembers each log's newest checkpoint, cosigns those that go
on from there, and refuses all others. Who owns a log's disk cannot rewrite it without the witness noticing.

It answers bytes with bytes: served over HTTP by witness_server, or used in place on a folder of another volume.
"""

from __future__ import annotations

import base64
import binascii
import re
import threading
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from modelward.atomic_file import replacing
from modelward.audit.merkle import EMPTY, ProofFails, check_consistency
from modelward.audit.note import COSIGNATURE, LARGEST_NOTE, Checkpoint, Note, NotSigned, Signer, Verifier
from modelward.bounded_file import read_regular

MOST_HASHES = 63
LARGEST_REQUEST = LARGEST_NOTE + 64 + MOST_HASHES * 45
SIZE_TYPE, TEXT_TYPE = "text/x.tlog.size", "text/plain; charset=utf-8"
OK, BAD, FORBIDDEN, UNKNOWN, CONFLICT, UNPROVED = 200, 400, 403, 404, 409, 422

_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")


class Answer(Struct, frozen=True):
    status: int
    body: str
    type: str = TEXT_TYPE


class Request(Struct, frozen=True):
    """old: the size that the witness is taken to remember. proof: of consistency with it. note: the checkpoint."""

    old: int
    proof: tuple[bytes, ...]
    note: bytes

    @classmethod
    def parse(cls, body: bytes) -> Request:
        """Raises ValueError."""
        if len(body) > LARGEST_REQUEST:
            raise ValueError("the request is too large")
        head, blank, note = body.partition(b"\n\n")
        old, *hashes = head.decode("ascii").split("\n")
        found = _OLD.fullmatch(old)
        if found is None or not blank or len(hashes) > MOST_HASHES:
            raise ValueError("the request is malformed")
        try:
            proof = tuple(base64.b64decode(each, validate=True) for each in hashes)
        except binascii.Error:
            raise ValueError("a hash of the proof is no base64") from None
        if any(len(each) != 32 for each in proof):
            raise ValueError("a hash of the proof has another length")
        return cls(int(found[1]), proof, note)

    def __bytes__(self) -> bytes:
        hashes = "".join(f"{base64.b64encode(each).decode()}\n" for each in self.proof)
        return f"old {self.old}\n{hashes}\n".encode() + self.note


class Witness:
    """folder: one file for each log, with the newest checkpoint and its cosignature. logs: whose checkpoints are
    cosigned; a log may have several keys. signer: None where it only remembers."""

    def __init__(self, folder: Path, logs: Sequence[Verifier], signer: Signer | None) -> None:
        self._folder = folder
        # a log signs with the time too, with the same key
        self._logs = [*logs, *(replace(each, kind=COSIGNATURE) for each in logs if each.kind != COSIGNATURE)]
        self._signer = signer
        self._lock = threading.Lock()

    def add(self, body: bytes, at: int) -> Answer:
        """at: seconds since 1970. Raises OSError where the checkpoint cannot be kept: then it is not cosigned."""
        try:
            request = Request.parse(body)
            note = Note.parse(request.note)
            checkpoint = Checkpoint.parse(note.text)
        except (ValueError, NotSigned) as error:
            return Answer(BAD, f"{error}\n")
        known = [each for each in self._logs if each.name == checkpoint.origin]
        if not known:
            return Answer(UNKNOWN, "this log is not known here\n")
        try:
            signed = _verified(note, known)
        except NotSigned as error:
            return Answer(FORBIDDEN, f"{error}\n")
        if request.old > checkpoint.size:
            return Answer(BAD, "the old size is larger than the checkpoint\n")
        with self._lock:  # nothing comes between looking and keeping
            before = self._remembered(checkpoint.origin)
            size, root = (before.size, before.root) if before is not None else (0, EMPTY)
            if request.old != size:
                return Answer(CONFLICT, f"{size}\n", SIZE_TYPE)
            try:
                check_consistency(size, checkpoint.size, root, checkpoint.root, request.proof)
                if checkpoint.size == 0 and checkpoint.root != EMPTY:
                    raise ProofFails("an empty tree has another root")
            except ProofFails as error:
                return Answer(UNPROVED, f"{error}\n")
            line = self._signer.sign(note.text, at) if self._signer is not None else ""
            file = self._file(checkpoint.origin)
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with replacing(file) as out:
                out.write(bytes(signed) + line.encode())
        return Answer(OK, line)

    def latest(self, origin_hash: str) -> Answer:
        """What is remembered of a log, by the SHA-256 of its name."""
        for each in self._logs:
            if sha256(each.name.encode()).hexdigest() == origin_hash:
                try:
                    return Answer(OK, read_regular(self._file(each.name), LARGEST_NOTE).decode())
                except FileNotFoundError:
                    break
        return Answer(UNKNOWN, "no checkpoint of this log was seen here\n")

    def _remembered(self, origin: str) -> Checkpoint | None:
        """Raises OSError where it cannot be told, damaged as it may be: a witness that forgets is none."""
        try:
            data = read_regular(self._file(origin), LARGEST_NOTE)
        except FileNotFoundError:
            return None
        try:
            return Checkpoint.parse(Note.parse(data).text)
        except NotSigned as error:
            raise OSError(f"{self._file(origin)} is damaged: {error}") from None

    def _file(self, origin: str) -> Path:
        return self._folder / sha256(origin.encode()).hexdigest() / "checkpoint"


def _verified(note: Note, known: Sequence[Verifier]) -> Note:
    """With the signatures of these keys alone: one at least, and none that is wrong. Raises NotSigned."""
    kept = []
    for name, signature in note.signatures:
        for verifier in known:
            if name == verifier.name and signature[:4] == verifier.key_id:
                verifier.check(note.text, signature[4:])
                kept.append((name, signature))
    if not kept:
        raise NotSigned(f"it is not signed by {known[0].name} with a key that is known here")
    return Note(note.text, tuple(kept))
