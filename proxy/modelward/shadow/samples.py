"""Pairs that disagreed, kept on disk to be shown and replayed: bounded, the oldest go first, each file whole or absent.

A sample is one file: a line of JSON (what it is, and the sizes of its parts), then the request and both answers as they
were on the wire. Requests are their callers' data: folders and files are for this user alone. One writer per folder:
each worker has its own within the shadow's.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from msgspec import Struct

from modelward.bounded_file import open_regular, read_regular

VERSION = 1
MOST_FILES = 256
MOST_BYTES = 64 * 2**20
LONGEST_HEADER = 4096
SUFFIX = ".sample"
FOLDER = "shadows"  # within the state folder
WORKER = "worker-"


class SampleError(ValueError):
    """A file that is no sample."""


class Heading(Struct, frozen=True):
    """What a sample's first line says. time_ns: since 1970. sizes: of its three parts."""

    model: str
    shadow_name: str
    time_ns: int
    disagreement: float
    sizes: tuple[int, int, int]

    @classmethod
    def decode(cls, line: bytes) -> Heading:
        """Raises SampleError where `line` is none."""
        try:
            header = json.loads(line)
            first, second, third = (int(size) for size in header["sizes"])
            if header["version"] != VERSION or min(first, second, third) < 0:
                raise SampleError("it is of another version")
            told = str(header["model"]), str(header["shadow"]), int(header["time_ns"]), float(header["disagreement"])
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise SampleError(str(error) if isinstance(error, SampleError) else "its first line is no header") from None
        return cls(*told, (first, second, third))


class Sample(Struct, frozen=True):
    """One pair. time_ns: since 1970. request, primary, shadow: encoded ModelInferRequest and ModelInferResponses."""

    model: str
    shadow_name: str
    time_ns: int
    disagreement: float
    request: bytes
    primary: bytes
    shadow: bytes

    def encode(self) -> bytes:
        parts = (self.request, self.primary, self.shadow)
        header = {
            "version": VERSION,
            "model": self.model,
            "shadow": self.shadow_name,
            "time_ns": self.time_ns,
            "disagreement": self.disagreement,
            "sizes": [len(part) for part in parts],
        }
        return b"".join((json.dumps(header).encode(), b"\n", *parts))

    @classmethod
    def decode(cls, data: bytes) -> Sample:
        """Raises SampleError where `data` is no sample, or not a whole one."""
        line, newline, _ = data[:LONGEST_HEADER].partition(b"\n")
        heading = Heading.decode(line if newline else b"")
        first, second, third = heading.sizes
        start = len(line) + 1
        if start + first + second + third != len(data):
            raise SampleError("its parts are not as long as it says")
        return cls(
            heading.model,
            heading.shadow_name,
            heading.time_ns,
            heading.disagreement,
            data[start : start + first],
            data[start + first : start + first + second],
            data[start + first + second :],
        )


def folder_of(root: Path, model: str, shadow: str) -> Path:
    """Where a shadow's samples lie: names may hold anything, so that a folder is called by their hash."""
    return root / hashlib.sha256(f"{model}\0{shadow}".encode()).hexdigest()[:32]


def writers_folder(root: Path, model: str, shadow: str, worker: int) -> Path:
    """Of this worker's samples of a shadow."""
    return folder_of(root, model, shadow) / f"{WORKER}{worker}"


class Samples:
    """The samples of one shadow. Writes block: for a thread. Raises OSError where the folder cannot be used."""

    def __init__(self, folder: Path, most_files: int = MOST_FILES, most_bytes: int = MOST_BYTES) -> None:
        self._folder = folder
        self._most_files, self._most_bytes = most_files, most_bytes
        _make(folder)
        for left_over in folder.glob("*.new"):  # of a writer that died
            left_over.unlink(missing_ok=True)
        self._sizes = {file.name: file.stat().st_size for file in names(folder)}
        self._next = 1 + max((int(name.removesuffix(SUFFIX)) for name in self._sizes), default=0)

    def add(self, sample: Sample) -> bool:
        """Writes one, and removes the oldest until all fit; False, and nothing written, where it alone would not."""
        data = sample.encode()
        if len(data) > self._most_bytes:
            return False
        name = f"{self._next:020d}{SUFFIX}"
        self._next += 1
        new = self._folder / f"{name}.new"
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            try:
                file.write(data)
                file.flush()
            except OSError:
                new.unlink()
                raise
        new.replace(self._folder / name)
        self._sizes[name] = len(data)
        while len(self._sizes) > self._most_files or sum(self._sizes.values()) > self._most_bytes:
            oldest = next(iter(self._sizes))
            (self._folder / oldest).unlink(missing_ok=True)
            del self._sizes[oldest]
        return True


def _make(folder: Path) -> None:
    """With those above it that are missing, for this user alone too."""
    if not folder.exists():
        _make(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def names(folder: Path) -> list[Path]:
    """The files of a folder's samples, the oldest first; none where there is no folder."""
    return sorted(file for file in folder.glob(f"*{SUFFIX}") if file.name.removesuffix(SUFFIX).isdecimal())


def read(file: Path, most_bytes: int = MOST_BYTES) -> Sample:
    """Raises OSError, and SampleError with what is wrong."""
    return Sample.decode(read_regular(file, most_bytes))


class Kept(Struct, frozen=True):
    """A sample on disk. name: worker and number, as commands call it."""

    name: str
    file: Path
    heading: Heading


def kept(root: Path, model: str, shadow: str | None = None) -> list[Kept]:
    """All samples of a model's shadow, or of all of its shadows, the newest first; what is none is left out.

    Raises OSError where the folders cannot be read.
    """
    folders = [folder_of(root, model, shadow)] if shadow is not None else sorted(root.glob("*"))
    found = [
        Kept(f"{folder.name.removeprefix(WORKER)}-{int(file.name.removesuffix(SUFFIX))}", file, heading)
        for each in folders
        for folder in each.glob(f"{WORKER}*")
        for file in names(folder)
        if (heading := _heading(file)) is not None and heading.model == model
    ]
    return sorted(found, key=lambda each: (each.heading.time_ns, each.name), reverse=True)


def _heading(file: Path) -> Heading | None:
    """None where it is none, or has just been removed."""
    try:
        with open_regular(file, MOST_BYTES) as opened:
            return Heading.decode(opened.readline(LONGEST_HEADER))
    except (FileNotFoundError, SampleError):
        return None
