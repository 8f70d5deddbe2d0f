"""Scans a model, a file, or a folder with all that is in it. What is wrong is a finding; only a path that cannot be
looked at is a problem."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from modelward.bounded_file import open_regular
from modelward.problem import Problem, ProblemsFound
from modelward.repository.files import SEALED, almost_sealed
from modelward.scanning import flow, folder, operators, payloads, tensors
from modelward.scanning.finding import Finding, Findings, quoted, worst_first
from modelward.scanning.reader import Reader
from modelward.scanning.source import InMemory, OnDisk, Source
from modelward.scanning.walk import Walk
from modelward.scanning.wire import Budget, TooMuch

log = logging.getLogger("modelward.scanning")

GIT_LFS = b"version https://git-lfs.github.com/spec/"
HEAD = 64  # bytes that tell whether it is sealed
LARGEST_MODEL = 2**31 - 1  # protobuf's bound
MOST_MODELS = 16  # beside the model that is loaded


class Bounds(Struct, frozen=True):
    """fields: of messages, and as many steps through the graph. A model of a thousand nodes has 20,000. text: bytes of
    texts that are searched."""

    fields: int
    text: int


AT_LOAD = Bounds(2_000_000, 8 << 20)
IN_COMMAND = Bounds(50_000_000, 256 << 20)

Progress = Callable[[Path], None]


class Scan(Struct, frozen=True):
    """models: files that are named as models are. findings: the worst first."""

    files: int
    models: int
    size: int
    findings: tuple[Finding, ...]


def scan(path: Path, progress: Progress = lambda file: None) -> Scan:
    """A file, or a folder and everything below it. progress: told each file before it is looked at. Raises
    ProblemsFound where there is nothing to look at."""
    if path.is_dir():
        return _scan_folder(path, progress)
    try:
        size = os.stat(path).st_size
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        how = "Name a model, a version's folder or a repository"
        raise ProblemsFound([Problem("there is nothing to scan", str(path), why, how)]) from error
    progress(path)
    return Scan(1, int(_is_model(path)), size, tuple(_scan_file(path.parent, path, str(path))))


def _scan_folder(path: Path, progress: Progress) -> Scan:
    whole = Findings(str(path))
    found: list[Finding] = []
    count = models = size = 0
    for file in folder.files_below(path, whole):
        progress(file)
        count += 1
        models += _is_model(file)
        found += _scan_file(path, file, str(file))
        size += _size(file)
    return Scan(count, models, size, tuple(worst_first([*whole.all, *found])))


def _is_model(file: Path) -> bool:
    return file.suffix.lower() == ".onnx"


def _size(file: Path) -> int:
    try:
        return os.lstat(file).st_size
    except OSError:
        return 0


def _scan_file(root: Path, file: Path, name: str, bounds: Bounds = IN_COMMAND) -> list[Finding]:
    findings = Findings(name)
    with _told(findings):
        _look_at(root, file, findings, bounds)
    return findings.all


@contextmanager
def _told(findings: Findings) -> Iterator[None]:
    """Whatever is raised over the bytes of a file is a finding of that file, and keeps no other from being scanned."""
    try:
        yield
    except Exception as error:  # a stranger's bytes, and several libraries that read them
        log.debug("a scan failed", exc_info=error)
        findings.add("scan-incomplete", f"the scan of the file failed ({type(error).__name__})")


def _look_at(root: Path, file: Path, findings: Findings, bounds: Bounds) -> None:
    size = folder.check_entry(root, file, findings)
    if size is None:
        return
    if not _is_model(file):
        folder.check_other(file, findings)
        return
    try:
        with open_regular(file, folder.ANY_SIZE) as opened:
            folder.check_named_as_model(file, opened, findings)
            if size > LARGEST_MODEL:
                findings.add("protobuf-oversized", f"the file has {size:,} bytes")
            scan_model(OnDisk(opened.fileno(), size), Path(os.path.realpath(file)).parent, findings, bounds)
    except OSError as error:
        findings.add("file-unreadable", f"the file cannot be read: {error.strerror}")


def scan_at_load(root: Path, file: Path, data: bytes) -> tuple[Finding, ...]:
    """Of a version that is about to be opened: its model, whose bytes were read, and what lies in its folder.

    The folder of a single file has other owners: only what belongs to the model is looked at there.
    """
    findings = Findings(str(file))
    with _told(findings):
        scan_model(InMemory(data), Path(os.path.realpath(file)).parent, findings, AT_LOAD)
    found = findings.all
    whole = Findings(str(file.parent))
    models = 0
    for other in beside(file, whole):
        models += _is_model(other)
        if _is_model(other) and models > MOST_MODELS:
            whole.add("scan-incomplete", f"it lies beside {MOST_MODELS} other files named .onnx", quoted(other.name))
            continue
        found += _scan_file(root, other, str(other), AT_LOAD)
    return tuple(worst_first([*found, *whole.all]))


def beside(file: Path, findings: Findings) -> Sequence[Path]:
    """Files that belong to a version beside its model."""
    if file.name == "model.onnx":
        others = folder.files_below(file.parent, findings)
        return [other for other in others if not (_is_model(other) and _is_same(other, file))]
    known = (file.with_name(f"{file.stem}.{kind}.npz") for kind in ("canary", "profile"))
    return [other for other in known if os.path.lexists(other)]


def _is_same(other: Path, file: Path) -> bool:
    """Also under another name, as Kubernetes mounts volumes."""
    try:
        return os.path.samefile(other, file)
    except OSError:  # told where it is looked at
        return False


def scan_model(source: Source, beside: Path | None, findings: Findings, bounds: Bounds) -> None:
    """beside: the folder in which external data lies."""
    if source.read(0, len(GIT_LFS)) == GIT_LFS:
        findings.add("not-a-model", "the file is a pointer of Git LFS")
        return
    head = source.read(0, HEAD)
    if head.startswith(SEALED) or almost_sealed(head):
        findings.add("file-sealed", "the file is sealed")
        return
    reader = Reader(source, Budget(bounds.fields), findings)
    try:
        model = reader.read()
    except TooMuch as much:
        findings.add("scan-incomplete", f"the model is too large to be scanned: {much}")
        return
    if model.graph is None or not (model.graph.nodes or model.graph.outputs):
        findings.add("not-a-model", "the file holds no graph")
    operators.check(model, findings)
    flow.check(model, findings)
    tensors.check(model, source, beside, findings)
    payloads.check(model, source, findings, bounds.text)
    try:
        Walk(model, source, Budget(bounds.fields), findings).run(model)
    except TooMuch as much:
        findings.add("scan-incomplete", f"the graph is too large to be followed: {much}")
