"""Which files are archives, by how they begin or end. Only zip and gzip are looked into."""

from __future__ import annotations

import re
from typing import BinaryIO

ZIP, GZIP = b"PK\x03\x04", b"\x1f\x8b\x08"
KINDS = {
    "a zip archive": re.compile(re.escape(ZIP)),
    "a gzip archive": re.compile(re.escape(GZIP)),
    "a bzip2 archive": re.compile(rb"BZh[1-9]1AY&SY"),
    "an xz archive": re.compile(rb"\xfd7zXZ\x00"),
    "an lzma archive": re.compile(rb"\x5d\x00\x00[\x00-\xff]{2}\xff{8}"),
    "a Zstandard archive": re.compile(rb"\x28\xb5\x2f\xfd"),
    "an LZ4 archive": re.compile(rb"\x04\x22\x4d\x18"),
    "a 7z archive": re.compile(rb"7z\xbc\xaf\x27\x1c"),
    "a rar archive": re.compile(rb"Rar!\x1a\x07"),
    "an ar archive": re.compile(rb"!<arch>\n"),
    "a cpio archive": re.compile(rb"07070[127][0-7]{6}"),
    "a cabinet": re.compile(rb"MSCF\x00{4}"),
}
TAR_BLOCK = 512
TAR_SUM = slice(148, 156)
_OCTAL = re.compile(rb"[0-7]{1,7}")

ZIP_END, ZIP_ENTRY = b"PK\x05\x06", b"PK\x01\x02"
ZIP_END_BYTES = 22
LONGEST_ZIP_END = ZIP_END_BYTES + (1 << 16)  # with its comment


def kind(head: bytes) -> str:
    """What begins so, in words, or ""."""
    found = next((words for words, pattern in KINDS.items() if pattern.match(head)), "")
    return found or ("a tar archive" if _is_tar(head) else "")


def _is_tar(head: bytes) -> bool:
    """By the checksum of its first header, which all kinds of tar have."""
    written = head[TAR_SUM].strip(b" \0")
    if len(head) < TAR_BLOCK or not _OCTAL.fullmatch(written):
        return False
    blanks = TAR_SUM.stop - TAR_SUM.start
    return int(written, 8) == sum(head[:TAR_BLOCK]) - sum(head[TAR_SUM]) + blanks * ord(" ")


def ends_as_zip(opened: BinaryIO, size: int) -> bool:
    """Whether programs find a zip's directory at its end, whatever is before it."""
    start = max(0, size - LONGEST_ZIP_END)
    opened.seek(start)
    tail = opened.read(LONGEST_ZIP_END)
    at = tail.rfind(ZIP_END)
    if not 0 <= at <= len(tail) - ZIP_END_BYTES:
        return False
    directory = start + at - int.from_bytes(tail[at + 12 : at + 16], "little")
    if directory < 0:
        return False
    opened.seek(directory)
    return opened.read(len(ZIP_ENTRY)) == ZIP_ENTRY
