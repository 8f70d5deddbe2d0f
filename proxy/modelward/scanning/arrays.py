"""Archives of numpy arrays (.npz, .npy): objects that need pickle, members that lead elsewhere, sizes."""

from __future__ import annotations

import io
import re
import stat
import zipfile
from typing import IO, BinaryIO

from numpy.lib import format as npy

from modelward.npz import DAMAGE, directory_size
from modelward.scanning.finding import Findings, quoted

LONGEST_DIRECTORY = 1 << 20
MOST_MEMBERS = 10_000
HEADER = 16 << 10  # bytes of a member's beginning
LARGEST = 1 << 30  # bytes unpacked
RATIO = 100
ROOTED = re.compile(r"[/\\]|[A-Za-z]:[/\\]")


def check_archive(file: BinaryIO, size: int, findings: Findings) -> None:
    """file: an .npz of `size` bytes."""
    file.seek(max(0, size - LONGEST_DIRECTORY))
    try:
        if directory_size(file.read(LONGEST_DIRECTORY)) > LONGEST_DIRECTORY:
            findings.add("array-damaged", "the archive lists too many members")
            return
        file.seek(0)
        with zipfile.ZipFile(file) as archive:
            _check_members(archive, size, findings)
    except DAMAGE as error:
        findings.add("array-damaged", f"the archive cannot be read: {str(error)[:200]}")
    except (OSError, NotImplementedError) as error:
        findings.add("array-damaged", f"the archive cannot be read: {str(error)[:200]}")


def _check_members(archive: zipfile.ZipFile, size: int, findings: Findings) -> None:
    members = archive.infolist()
    unpacked = sum(member.file_size for member in members)
    if unpacked > LARGEST and unpacked > RATIO * size:
        findings.add("array-bomb", f"it has {size:,} bytes and unpacks to {unpacked:,}")
        return
    if sum(member.compress_size for member in members) > size:
        findings.add("array-bomb", "its members overlap: they have more bytes than the file")
        return
    for member in members[:MOST_MEMBERS]:
        place = f"member {quoted(member.filename)}"
        parts = member.filename.replace("\\", "/").split("/")
        if ".." in parts or ROOTED.match(member.filename):
            findings.add("array-member", "the name of a member leads out of a folder", place)
        if stat.S_ISLNK(member.external_attr >> 16):
            findings.add("array-member", "a member is a link", place)
        if not member.filename.endswith(".npy"):
            findings.add("array-member", "a member is no array", place)
            continue
        if member.flag_bits & 1:
            findings.add("array-damaged", "a member is encrypted", place)
            continue
        with archive.open(member) as opened:
            check_array(opened, findings, place)
    if len(members) > MOST_MEMBERS:
        findings.add("scan-incomplete", f"the archive has {len(members):,} members")


def check_array(file: IO[bytes], findings: Findings, place: str = "") -> None:
    """The header of an .npy."""
    head = io.BytesIO(file.read(HEADER))
    try:
        version = npy.read_magic(head)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        _, _, datatype = read(head)
    except DAMAGE as error:
        if "allow_pickle" in str(error) or b"O'" in head.getvalue()[:256]:
            findings.add("array-pickle", "an array holds Python objects", place)
        elif head.getvalue()[:1] == b"\x80":
            findings.add("array-pickle", "an array is a pickle", place)
        else:
            findings.add("array-damaged", f"an array cannot be read: {str(error)[:200]}", place)
        return
    if datatype.hasobject:
        findings.add("array-pickle", "an array holds Python objects", place)
