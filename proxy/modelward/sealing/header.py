"""The header of a file in the age format (C2SP, age.md): who may open it. No cipher is needed to read it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from msgspec import Struct

from modelward.repository.files import SEALED

# pyrage's time grows with the square of the header: 0.2 MB take a minute. A recipient has 100 bytes, one of RSA 400
LONGEST_HEADER = 64 << 10
MOST_RECIPIENTS = 256
MOST_STANZAS = MOST_RECIPIENTS + 1  # age adds one that is nobody's
COLUMNS = 64  # of a stanza's body; its last line is shorter


class NoMatch(Exception):
    """The file is sealed for other keys."""


class Damaged(Exception):
    """The file was changed, or is not complete; in words."""


class Stanza(Struct, frozen=True):
    """One recipient, as the header names it: its kind, arguments, and the file's key wrapped for it."""

    kind: str
    arguments: tuple[str, ...]
    body: bytes


class Header(Struct, frozen=True):
    """signed: the bytes that the code is over. size: of all of it, to where the payload begins."""

    stanzas: tuple[Stanza, ...]
    signed: bytes
    code: bytes
    size: int


def is_sealed(data: bytes) -> bool:
    return data.startswith(SEALED)


def read_header(data: bytes) -> Header:
    """Raises Damaged."""
    at = len(SEALED)
    end = data.find(b"\n--- ", at - 1, LONGEST_HEADER)
    last = data.find(b"\n", end + 1, end + 128)
    if not is_sealed(data) or end < 0 or last < 0:
        is_long = is_sealed(data) and len(data) > LONGEST_HEADER
        raise Damaged(f"its header has more than {LONGEST_HEADER} bytes" if is_long else "its header is not complete")
    try:
        lines = data[at : end + 1].decode("ascii").splitlines()
        code = unpadded(data[end + 5 : last].decode("ascii"))
    except (UnicodeDecodeError, binascii.Error):
        raise Damaged("its header cannot be read") from None
    stanzas = tuple(_stanzas(lines))
    if len(stanzas) > MOST_STANZAS:
        raise Damaged(f"it has more than {MOST_RECIPIENTS} recipients")
    return Header(stanzas, data[: end + 4], code, last + 1)


def recipients_of(data: bytes) -> list[str]:
    """The kind of each recipient, and of an SSH key the first bytes of its hash: no more is told. Raises Damaged."""
    stanzas = [each for each in read_header(data).stanzas if not each.kind.endswith("-grease")]
    return [
        " ".join((each.kind, *each.arguments[:1])) if each.kind.startswith("ssh-") else each.kind for each in stanzas
    ]


def _stanzas(lines: Sequence[str]) -> list[Stanza]:
    found: list[Stanza] = []
    at = 0
    while at < len(lines):
        arrow, *words = lines[at].split(" ")
        body = []
        at += 1
        while at < len(lines):
            body.append(lines[at])
            at += 1
            if len(body[-1]) < COLUMNS:
                break
        is_whole = body and len(body[-1]) < COLUMNS and max(map(len, body)) <= COLUMNS
        if arrow != "->" or not words or not all(words) or not is_whole:
            raise Damaged("its header cannot be read")
        try:
            found.append(Stanza(words[0], tuple(words[1:]), unpadded("".join(body))))
        except binascii.Error:
            raise Damaged("its header cannot be read") from None
    return found


def unpadded(text: str) -> bytes:
    """Without padding, and in one way only. Raises binascii.Error."""
    decoded = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    if base64.b64encode(decoded).decode().rstrip("=") != text:
        raise binascii.Error("it is not canonical")
    return decoded
