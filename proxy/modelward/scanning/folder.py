"""Files beside a model: links that leave the folder, programs, scripts, pickles, archives of arrays."""

from __future__ import annotations

import io
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from modelward.bounded_file import open_regular
from modelward.npz import DAMAGE, LONGEST_DIRECTORY, directory_size
from modelward.repository.files import SEALED, almost_sealed
from modelward.scanning import archives, arrays, payloads, pickles
from modelward.scanning.archives import GZIP, ZIP
from modelward.scanning.finding import Findings, quoted
from modelward.scanning.flow import unprintable

HEAD = 64 << 10
NPY = b"\x93NUMPY"
MOST_FILES = 100_000
ANY_SIZE = 1 << 62

LIBRARIES = frozenset({".so", ".dll", ".dylib", ".exe", ".pyd", ".com", ".msi", ".scr", ".jar", ".class", ".pyc"})
SCRIPTS = frozenset(
    {".py", ".sh", ".bash", ".bat", ".cmd", ".ps1", ".pl", ".rb", ".js", ".lua", ".php", ".vbs", ".ipynb"}
)
PICKLES = frozenset({".pkl", ".pickle", ".joblib", ".dill", ".pt", ".pth", ".ckpt", ".p", ".pk"})
MOST_MEMBERS = 1000
ARRAYS: dict[str, tuple[bytes, ...]] = {".npz": (ZIP,), ".npy": (NPY,)}  # how they begin
PICKLE = "it is a pickle, or an archive with one"


def files_below(folder: Path, findings: Findings) -> Iterator[Path]:
    """Every file in the folder and below, links included; links to folders are not followed."""
    seen = 0

    def unreadable(error: OSError) -> None:
        where = os.path.relpath(error.filename, folder) if error.filename else ""
        findings.add("file-unreadable", f"a folder cannot be read: {error.strerror}", quoted(where))

    for root, folders, names in os.walk(folder, onerror=unreadable):
        folders.sort()
        links = [name for name in folders if os.path.islink(os.path.join(root, name))]
        for name in sorted([*names, *links]):
            seen += 1
            if seen > MOST_FILES:
                findings.add("scan-incomplete", f"the folder has more than {MOST_FILES:,} files")
                return
            yield Path(root, name)


def check_entry(root: Path, file: Path, findings: Findings) -> int | None:
    """What can be said of a file without opening it. Its size, None where it is not to be opened."""
    if fault := unprintable(file.name):
        findings.add("file-name", f"the file's name has {fault}", quoted(file.name))
    try:
        found = os.lstat(file)
        if stat.S_ISLNK(found.st_mode):
            real = os.path.realpath(file)
            if real != (base := os.path.realpath(root)) and not real.startswith(f"{base.rstrip('/')}/"):
                findings.add("file-link", f"the link leads to {quoted(os.readlink(file))}, outside of the folder")
                return None
            found = os.stat(file)
            if stat.S_ISDIR(found.st_mode):
                return None
    except OSError as error:
        findings.add("file-unreadable", f"the file cannot be read: {error.strerror}")
        return None
    if not stat.S_ISREG(found.st_mode):
        findings.add("file-special", "it is no regular file")
        return None
    if found.st_nlink > 1:
        findings.add("file-hard-link", f"the file has {found.st_nlink} hard links")
    return found.st_size


def check_other(file: Path, findings: Findings) -> None:
    """A file that is no .onnx."""
    suffix = file.suffix.lower()
    try:
        with open_regular(file, ANY_SIZE) as opened:
            size = os.fstat(opened.fileno()).st_size
            head = opened.read(HEAD)
            opened.seek(0)
            if head.startswith(SEALED) or almost_sealed(head):
                findings.add("file-sealed", "the file is sealed")
                return
            if suffix == ".npz":
                arrays.check_archive(opened, size, findings)
            elif suffix == ".npy":
                arrays.check_array(opened, findings)
            if not head.startswith(ARRAYS.get(suffix, ())):
                _check_content(file, opened, head, findings)
    except OSError as error:
        findings.add("file-unreadable", f"the file cannot be read: {error.strerror}")


def check_named_as_model(file: Path, opened: BinaryIO, findings: Findings) -> None:
    """The content of a file whose name says that it is a model."""
    head = opened.read(HEAD)
    if not (head.startswith(SEALED) or almost_sealed(head)):
        _check_content(file, opened, head, findings)


def _check_content(file: Path, opened: BinaryIO, head: bytes, findings: Findings) -> None:
    suffix = file.suffix.lower()
    words = _program(head)
    if words or suffix in LIBRARIES or ".so." in file.name:
        findings.add("file-executable", f"it is {words or 'a program or library by its name'}")
    elif head.startswith(ZIP) or archives.ends_as_zip(opened, os.fstat(opened.fileno()).st_size):
        _check_zip(file, opened, findings)
    elif suffix in PICKLES or _is_pickle(head, findings, pickles.Budget()):
        findings.add("file-pickle", PICKLE)
        _look_into_pickle(file, findings)
    elif suffix in SCRIPTS or head.startswith(b"#!"):
        findings.add("file-script", "it is a script")
    elif head.startswith(GZIP):
        _check_packed(head, findings)
    elif found := archives.kind(head):
        findings.add("file-archive", f"it is {found}")


def _program(head: bytes) -> str:
    """What it is, or ""."""
    words = next((words for words, pattern in payloads.EXECUTABLES.items() if pattern.match(head)), "")
    return words or ("a Windows program" if head.startswith(b"MZ") else "")


def _is_pickle(head: bytes, findings: Findings, budget: pickles.Budget, place: str = "") -> bool:
    verdict = pickles.begins(head, budget)
    if verdict == "no" and pickles.BINARY.match(head):
        verdict = pickles.search(head, budget)
    if verdict == "unknown":
        findings.add("scan-incomplete", "too much that may be a pickle", place)
    return verdict == "yes"


def _check_packed(head: bytes, findings: Findings) -> None:
    """The beginning of what a gzip file holds."""
    try:
        unpacked = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, HEAD)
    except zlib.error as error:
        findings.add("file-unreadable", f"it cannot be unpacked: {str(error)[:200]}")
        return
    if words := _program(unpacked):
        findings.add("file-executable", f"it is {words}, packed")
    elif found := archives.kind(unpacked):
        findings.add("file-archive", f"it is {found}, packed")
    elif unpacked.startswith(NPY):
        arrays.check_array(io.BytesIO(unpacked), findings, "what is packed")
    elif _is_pickle(unpacked, findings, pickles.Budget()):
        findings.add("file-pickle", "it is a pickle, packed")
    elif unpacked.startswith(b"#!"):
        findings.add("file-script", "it is a script, packed")


def _check_zip(file: Path, opened: BinaryIO, findings: Findings) -> None:
    """Members by their names, as torch.save writes, and by how they begin."""
    size = os.fstat(opened.fileno()).st_size
    opened.seek(max(0, size - LONGEST_DIRECTORY))
    try:
        if directory_size(opened.read(LONGEST_DIRECTORY)) > LONGEST_DIRECTORY:
            findings.add("scan-incomplete", "the archive lists too many members")
            return
        opened.seek(0)
        with zipfile.ZipFile(opened) as archive:
            members = archive.infolist()
            has_pickle = any(Path(member.filename).suffix.lower() in PICKLES for member in members)
            if has_pickle:
                findings.add("file-pickle", PICKLE)
            budget = pickles.Budget()
            for member in members[:MOST_MEMBERS]:
                has_pickle |= _is_member_pickle(archive, member, findings, budget)
        if has_pickle:
            _look_into_pickle(file, findings)
    except (*DAMAGE, OSError) as error:
        findings.add("file-unreadable", f"the archive cannot be read: {str(error)[:200]}")
        return
    if len(members) > MOST_MEMBERS:
        findings.add("scan-incomplete", f"the archive has {len(members):,} members")


def _is_member_pickle(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, findings: Findings, budget: pickles.Budget
) -> bool:
    place = f"member {quoted(member.filename)}"
    if member.flag_bits & 1:
        findings.add("scan-incomplete", "a member of the archive is encrypted", place)
        return False
    with archive.open(member) as opened:
        head = opened.read(HEAD)
    if words := _program(head):
        findings.add("file-executable", f"it is {words}", place)
    elif found := archives.kind(head):
        findings.add("file-archive", f"it is {found} in an archive", place)
    elif head.startswith(NPY):
        arrays.check_array(io.BytesIO(head), findings, place)
    elif _is_pickle(head, findings, budget, place):
        findings.add("file-pickle", PICKLE, place)
        return True
    return False


def _look_into_pickle(file: Path, findings: Findings) -> None:
    """By picklescan, where it is installed."""
    try:
        from picklescan import scanner  # noqa: PLC0415 - the extra `scan`
    except ImportError:
        return
    try:
        with open_regular(file, ANY_SIZE) as opened:
            kind = ".zip" if opened.read(4) == ZIP else ".pkl"
            opened.seek(0)
            found = scanner.scan_bytes(opened, str(file), kind)
    except Exception as error:  # noqa: BLE001 - whatever it raises on a file of a stranger
        findings.add("file-unreadable", f"picklescan cannot read it: {str(error)[:200]}")
        return
    named = [f"{each.module}.{each.name}" for each in found.globals if each.safety == scanner.SafetyLevel.Dangerous]
    if named:
        findings.add("file-pickle-dangerous", f"it names {', '.join(map(quoted, named[:4]))}")
