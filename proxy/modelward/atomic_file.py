"""Files that are written as a whole: whoever reads one finds what was there before, or all of what is there now."""

import os
import tempfile
from pathlib import Path


def replace_file(file: Path, text: str) -> None:
    """Puts `text` in the file's place, readable by its owner alone; once it returns, a loss of power cannot undo it.

    Raises OSError, and then the file is as it was.
    """
    handle, beside = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
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
