"""Proofs as text, which can be checked without the log: https://c2sp.org/tlog-proof of a record's place, and of two
sizes of a log the form in which https://c2sp.org/tlog-witness asks for a cosignature."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence

from msgspec import Struct

from modelward.audit.log import Reader
from modelward.audit.merkle import (
    EMPTY,
    ProofFails,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    range_root,
)
from modelward.audit.note import Checkpoint, Note, NotSigned, Verifier
from modelward.audit.tiles import HASH, nodes

HEADER = "c2sp.org/tlog-proof@v1"
LONGEST_PROOF = 64


class Inclusion(Struct, frozen=True):
    """That a record is the one with this number. note: the checkpoint, with its signatures."""

    number: int
    hashes: tuple[bytes, ...]
    note: Note

    @classmethod
    def parse(cls, text: str) -> Inclusion:
        """Raises ProofFails where it is none, NotSigned where its checkpoint is none."""
        head, blank, note = text.partition("\n\n")
        lines = head.split("\n")
        if lines[0] != HEADER or not blank:
            raise ProofFails(f"a proof begins with the line {HEADER}, and ends with a checkpoint behind an empty line")
        lines = lines[1:]
        if lines and lines[0].startswith("extra "):
            lines = lines[1:]
        found = re.fullmatch(r"index (0|[1-9][0-9]{0,18})", lines[0]) if lines else None
        if found is None or len(lines) > LONGEST_PROOF + 1:
            raise ProofFails("a proof has a line `index N`, and at most 64 hashes")
        return cls(int(found[1]), tuple(map(_hash, lines[1:])), Note.parse(note.encode()))

    def __str__(self) -> str:
        return "\n".join([HEADER, f"index {self.number}", *map(_text, self.hashes), "", str(self.note)])

    def check(self, record: bytes, verifier: Verifier) -> Checkpoint:
        """That the record is in the log that the key has signed. Raises ProofFails, NotSigned."""
        self.note.verify(verifier)
        checkpoint = Checkpoint.parse(self.note.text)
        if checkpoint.origin != verifier.name:
            raise NotSigned(f"it is of the log {checkpoint.origin}, and its key of {verifier.name}")
        check_inclusion(leaf_hash(record), self.number, checkpoint.size, checkpoint.root, self.hashes)
        return checkpoint


class Consistency(Struct, frozen=True):
    """That a log begins with what it was when it had `before` records."""

    before: int
    hashes: tuple[bytes, ...]
    note: Note

    def __str__(self) -> str:
        return "\n".join([f"old {self.before}", *map(_text, self.hashes), "", str(self.note)])


def prove_inclusion(log: Reader, note: Note, number: int, record: bytes) -> Inclusion:
    """Raises ProofFails where the record is not what the checkpoint stands for; Gone, OSError, NotSigned."""
    checkpoint = Checkpoint.parse(note.text)
    proof = inclusion_proof(number, checkpoint.size, nodes(checkpoint.size, log.hashes))
    check_inclusion(leaf_hash(record), number, checkpoint.size, checkpoint.root, proof)
    return Inclusion(number, tuple(proof), note)


def prove_consistency(log: Reader, note: Note, before: int, root: bytes | None = None) -> Consistency:
    """root: what the log's root was then, where that is known. Raises ProofFails, Gone, OSError, NotSigned."""
    checkpoint = Checkpoint.parse(note.text)
    size = checkpoint.size
    if before > size:
        raise ProofFails(f"the log has {size} records and had {before}: it was cut off")
    node = nodes(size, log.hashes)
    then = root or (range_root(0, before, nodes(before, log.hashes)) if before else EMPTY)
    proof = consistency_proof(before, size, node)
    check_consistency(before, size, then, checkpoint.root, proof)
    return Consistency(before, tuple(proof), note)


def note_of(log: Reader, size: int) -> Note:
    """The signed checkpoint of this size: the newest, or an earlier one. Raises OSError, NotSigned, ProofFails."""
    newest = log.note()
    if Checkpoint.parse(newest.text).size == size:
        return newest
    near = []
    for note in log.history():
        found = Checkpoint.parse(note.text).size
        if found == size:
            return note
        if found < size:
            near = [found]
        elif found > size:
            near.append(found)
            break
    words = " and ".join(map(str, near)) or "none"
    raise ProofFails(f"there is no checkpoint of {size} records; those nearest are of {words}")


def _hash(line: str) -> bytes:
    try:
        found = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != HASH:
        raise ProofFails("a line of the proof is no hash")
    return found


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def texts(hashes: Sequence[bytes]) -> list[str]:
    return [*map(_text, hashes)]
