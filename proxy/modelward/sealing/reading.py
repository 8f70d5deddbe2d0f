"""A file of a version, read once: hashed as it lies on disk, and opened."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

from modelward.repository.files import read_inside
from modelward.sealing.opening import Opened, Unseal

Hold = Callable[[bytes, str], None]


def read_opened(
    root: Path, file: Path, largest: int, unseal: Unseal, hold: Hold = lambda data, digest: None
) -> tuple[Opened, str]:
    """What the file holds, and the SHA-256 (hexadecimal) of it as it lies there. Raises ProblemsFound.

    hold: given the file as it lies there and that hash, before what it holds is used.
    """
    data = read_inside(root, file, largest)
    digest = hashlib.sha256()
    # beside each other: both take about half a second for 500 MB, and neither holds the interpreter for long
    hashing = threading.Thread(target=digest.update, args=(data,))
    hashing.start()
    try:
        opened = unseal(data, file)
    finally:
        hashing.join()
    hold(data, digest.hexdigest())
    return opened, digest.hexdigest()
