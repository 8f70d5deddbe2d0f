"""Signed notes and the checkpoints of a log, as C2SP has them: https://c2sp.org/signed-note,
https://c2sp.org/tlog-checkpoint, https://c2sp.org/tlog-cosignature.

A note is text, a blank line, and a line for each signature: an em dash, the signer's name, and in base64 four bytes
that identify the key and the signature itself.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Struct
from msgspec.structs import replace

ED25519 = 1
COSIGNATURE = 4
LARGEST_NOTE = 1 << 16
MOST_SIGNATURES = 16
SIGNATURE_BYTES = 64

_NAME = re.compile(r"[^\s+]+")


class NotSigned(Exception):
    """A note is malformed, or not signed by who should have signed it; the message says which."""


class Verifier(Struct, frozen=True):
    """Checks signatures of one key. name: of the signer. kind: ED25519 or COSIGNATURE."""

    name: str
    public: bytes
    kind: int = ED25519

    @classmethod
    def parse(cls, text: str) -> Verifier:
        """The form NAME+KEYID+KEY in which such keys are passed around. Raises ValueError."""
        name, _, rest = text.strip().partition("+")
        identity, _, encoded = rest.partition("+")
        key = _decoded(encoded)
        if not _NAME.fullmatch(name) or len(key) != 33 or key[0] not in (ED25519, COSIGNATURE):
            raise ValueError("this is no verifier key: it reads NAME+KEYID+KEY, of Ed25519")
        verifier = cls(name, key[1:], key[0])
        if identity != verifier.key_id.hex():
            raise ValueError("the key id of this verifier key is not that of its key: it was cut or mistyped")
        return verifier

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(bytes([self.kind]) + self.public).decode()}"

    @property
    def key_id(self) -> bytes:
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    def check(self, text: str, signature: bytes) -> int:
        """The time of a cosignature in seconds since 1970, 0 of other signatures. Raises NotSigned."""
        message, at = text.encode(), 0
        if self.kind == COSIGNATURE:
            at = int.from_bytes(signature[:8], "big")
            signature = signature[8:]
            message = cosigned(text, at)
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            raise NotSigned(f"the signature of {self.name} does not fit the text: one of them was changed") from None
        return at


class OtherKey(NotSigned):
    """It is signed by who should have signed it, as far as the name tells, and with another key."""

    def __init__(self, expected: Verifier, key_id: str) -> None:
        name, ours = expected.name, expected.key_id.hex()
        super().__init__(f"it is signed by {name} with the key {key_id}, and not with the key {ours}")


class Signer(Struct, frozen=True):
    """Signs notes. seed: the 32 bytes of an Ed25519 private key."""

    name: str
    seed: bytes
    kind: int = ED25519

    @property
    def verifier(self) -> Verifier:
        return Verifier(self.name, self._key().public_key().public_bytes_raw(), self.kind)

    def sign(self, text: str, at: int = 0) -> str:
        """The line of a signature. at: seconds since 1970, of a cosignature."""
        if self.kind == COSIGNATURE:
            signature = at.to_bytes(8, "big") + self._key().sign(cosigned(text, at))
        else:
            signature = self._key().sign(text.encode())
        return f"\N{EM DASH} {self.name} {base64.b64encode(self.verifier.key_id + signature).decode()}\n"

    def _key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)


def cosigned(text: str, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()


def is_name(text: str) -> bool:
    """Whether it can name a signer or a log."""
    return _NAME.fullmatch(text) is not None


class Note(Struct, frozen=True):
    """text: with its last newline. signatures: the lines."""

    text: str
    signatures: tuple[tuple[str, bytes], ...]
    """(name, key id and signature)"""

    @classmethod
    def parse(cls, data: bytes) -> Note:
        """Raises NotSigned where it is none."""
        if len(data) > LARGEST_NOTE:
            raise NotSigned(f"a note has at most {LARGEST_NOTE} bytes")
        try:
            whole = data.decode()
        except UnicodeDecodeError:
            raise NotSigned("a note is text in UTF-8") from None
        text, blank, lines = whole.rpartition("\n\n")
        signatures = lines.split("\n")
        if not blank or signatures.pop() or not signatures or len(signatures) > MOST_SIGNATURES:
            raise NotSigned("a note is text, a blank line, and the lines of its signatures")
        if any(ord(c) < 0x20 and c != "\n" for c in whole):
            raise NotSigned("a note has no control characters")
        return cls(text + "\n", tuple(map(_signature, signatures)))

    def __bytes__(self) -> bytes:
        lines = (f"\N{EM DASH} {name} {base64.b64encode(signature).decode()}\n" for name, signature in self.signatures)
        return f"{self.text}\n{''.join(lines)}".encode()

    def verify(self, verifier: Verifier) -> int:
        """As Verifier.check. Raises NotSigned where it has no signature of that key, or a wrong one."""
        for name, signature in self.signatures:
            if name == verifier.name and signature[:4] == verifier.key_id:
                return verifier.check(self.text, signature[4:])
        theirs = next((signature[:4].hex() for name, signature in self.signatures if name == verifier.name), None)
        if theirs is not None:
            raise OtherKey(verifier, theirs)
        raise NotSigned(f"it is not signed by {verifier.name} with the key {verifier.key_id.hex()}")

    def __str__(self) -> str:
        lines = (f"\N{EM DASH} {name} {base64.b64encode(data).decode()}\n" for name, data in self.signatures)
        return f"{self.text}\n{''.join(lines)}"


def _signature(line: str) -> tuple[str, bytes]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "\N{EM DASH}" or not is_name(parts[1]):
        raise NotSigned("the line of a signature reads: an em dash, a name, a signature in base64")
    signature = _decoded(parts[2])
    if len(signature) < 5:
        raise NotSigned(f"the signature of {parts[1]} is no base64")
    return parts[1], signature


def _decoded(text: str) -> bytes:
    """Of base64 as an encoder writes it, in one way; else nothing."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return data if base64.b64encode(data).decode() == text else b""


class Checkpoint(Struct, frozen=True):
    """What a log was at one moment. origin: its name. root: hash of the tree over its first `size` records."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Raises NotSigned."""
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop():
            raise NotSigned("a checkpoint has at least three lines: the log's name, its size and its root")
        origin, size, root, *extensions = lines
        decoded = _decoded(root)
        if not origin or not re.fullmatch(r"0|[1-9][0-9]{0,18}", size) or len(decoded) != 32 or "" in extensions:
            raise NotSigned("a checkpoint reads: the log's name, its size in digits, its root in base64")
        return cls(origin, int(size), decoded, tuple(extensions))

    def __str__(self) -> str:
        root = base64.b64encode(self.root).decode()
        return "".join(f"{line}\n" for line in (self.origin, str(self.size), root, *self.extensions))


def stamped(checkpoint: Checkpoint, signer: Signer, at: int) -> bytes:
    """The note of a log's own checkpoint: signed, and cosigned with the time in seconds since 1970."""
    return signed(str(checkpoint), [signer, replace(signer, kind=COSIGNATURE)], at)


def stamp(note: Note, verifier: Verifier) -> int:
    """When a log has signed its checkpoint, in seconds since 1970. Raises NotSigned where that is not told."""
    note.verify(verifier)
    return note.verify(replace(verifier, kind=COSIGNATURE))


def signed(text: str, signers: Sequence[Signer], at: int = 0) -> bytes:
    """The note. text: ends with a newline."""
    return (text + "\n" + "".join(signer.sign(text, at) for signer in signers)).encode()
