"""Whether a file is still the one that was read, without reading it again."""

import os
from collections.abc import Iterable
from pathlib import Path

# of each file (device, inode, size, mtime in ns, ctime in ns); None where it is missing
Fingerprint = tuple[tuple[int, int, int, int, int] | None, ...]


def fingerprint(files: Iterable[Path]) -> Fingerprint:
    """What differs when a file was written, replaced, or when a link to it was turned."""
    return tuple(map(_identity, files))


def _identity(file: Path) -> tuple[int, int, int, int, int] | None:
    try:
        status = os.stat(file)
    except (OSError, ValueError):  # gone for now, or no path at all: told when loading it fails
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
