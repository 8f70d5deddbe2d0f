"""Reads a file of the model repository once, as bytes, after making sure that it is what it claims to be.

A repository may be filled by other programs and people than the server's. Canonical paths that leave it, further
hard links (somebody could change the file under another name), devices and pipes are refused, and what was hashed
is what is loaded, since nothing reads the file a second time.
"""

import contextlib
import hashlib
import os
import shlex
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from modelward.problem import Problem, ProblemsFound

# protobuf's own bound for one message, and so for one .onnx file
LARGEST_MODEL = 2**31 - 1
SETTINGS_FILE = "model.yaml"
LARGEST_SETTINGS = 2**20
# how a file begins that is sealed (modelward.sealing): a line of the age format
SEALED = b"age-encryption.org/v1\n"
_ARMORED = b"-----BEGIN AGE ENCRYPTED FILE-----"
_SHORTEST = 4  # bytes of a cut file that tell

# reads a file of a version as `read_hashed` does
Read = Callable[[Path, Path, int], tuple[bytes, str]]


def almost_sealed(data: bytes) -> str:
    """Why a file of age is none that can be opened here, or ""; data: its beginning at least."""
    if data.startswith(_ARMORED):
        return "it is armored"
    if len(data) >= _SHORTEST and SEALED.startswith(data) and data != SEALED:
        return "it is cut"
    if data.startswith(SEALED[:-2]) and not data.startswith(SEALED):
        return "it is of another version of age"
    return ""


def read_inside(root: Path, path: Path, largest: int = LARGEST_MODEL) -> bytes:
    """The bytes of the regular file `path`, whose canonical path lies in the folder `root`. Raises ProblemsFound.

    Links inside the root are followed (Kubernetes mounts volumes so). Each folder on the canonical path is opened
    through the one above it without following links, so that nothing swapped in meanwhile is read.
    """
    with open_inside(root, path, largest) as (file, size):
        data = file.read(size + 1)
    if len(data) != size:
        how = "Try again when it is complete"
        raise ProblemsFound([Problem("the file changed while it was read", str(path), how=how)])
    return data


@contextlib.contextmanager
def open_inside(root: Path, path: Path, largest: int = LARGEST_MODEL) -> Iterator[tuple[BinaryIO, int]]:
    """The file and its size, as `read_inside` would read it."""
    try:
        with _opened(root, path, largest) as opened:
            yield opened
    except OSError as error:
        how = "Check the path and that this user may read it"
        raise ProblemsFound(
            [Problem("the file cannot be read", str(path), error.strerror or str(error), how)]
        ) from error


def read_hashed(root: Path, path: Path, largest: int = LARGEST_MODEL) -> tuple[bytes, str]:
    """As `read_inside`, with the SHA-256 (hexadecimal) of these bytes."""
    data = read_inside(root, path, largest)
    return data, hashlib.sha256(data).hexdigest()


def canonical(path: Path) -> Path:
    """`path` without links. Raises OSError where it leads nowhere or in a circle (Path.resolve: RuntimeError)."""
    return Path(os.path.realpath(path, strict=True))


def inside(root: Path, path: Path) -> Path:
    """`path` without links, relative to the canonical `root`. Raises ProblemsFound where it leaves it, or OSError."""
    real, real_root = canonical(path), canonical(root)
    try:
        return real.relative_to(real_root)
    except ValueError as error:
        raise ProblemsFound(
            [
                Problem(
                    "the path leaves the model's folder",
                    str(path),
                    "its canonical path lies outside",
                    "Copy the file into the folder instead of linking to it",
                )
            ]
        ) from error


@contextlib.contextmanager
def _opened(root: Path, path: Path, largest: int) -> Iterator[tuple[BinaryIO, int]]:
    relative = inside(root, path)
    folder = os.open(canonical(root), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in relative.parts[:-1]:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = below
        # O_NONBLOCK: a pipe without a writer is opened, and refused, instead of waited for
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with open(os.open(relative.name, flags, dir_fd=folder), "rb") as file:
            yield file, _checked_size(os.fstat(file.fileno()), path, largest)
    finally:
        os.close(folder)


def _checked_size(found: os.stat_result, path: Path, largest: int) -> int:
    if not stat.S_ISREG(found.st_mode):
        raise ProblemsFound([Problem("this is no regular file", str(path), how="Put a copy of the file there")])
    if found.st_nlink > 1:
        name = shlex.quote(str(path))
        raise ProblemsFound(
            [
                Problem(
                    f"the file has {found.st_nlink} hard links",
                    str(path),
                    "it can be changed through another link after it was checked",
                    f"Make it a file of its own: cp {name} {name}.new && mv {name}.new {name}",
                )
            ]
        )
    if found.st_size > largest:
        raise ProblemsFound(
            [Problem(f"the file has {found.st_size} bytes, more than {largest}", str(path), how="Use a smaller file")]
        )
    return found.st_size
