"""Files that are written as a whole: a reader finds what was there before, or all of what is there now."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(file: Path, mode: int = 0o600) -> Iterator[BinaryIO]:
    """Gives a file to write, which takes the place of `file` on leaving, unless by an exception.

    mode: its permissions. Once this returns, a loss of power cannot undo it. Raises OSError, and then the file is as it
    was.
    """
    handle, beside = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as out:
            yield out
            out.flush()
            os.fchmod(out.fileno(), mode)
            os.fsync(out.fileno())
        os.replace(beside, file)
    except BaseException:
        os.unlink(beside)
        raise
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def replace_file(file: Path, content: str | bytes) -> None:
    """Puts `content` in the file's place, readable by its owner alone; as `replacing`."""
    with replacing(file) as out:
        out.write(content.encode() if isinstance(content, str) else content)
