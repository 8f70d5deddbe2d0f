"""Files that the configuration or a repository names: regular ones alone, and only up to a size.

Who may write a file there could put a pipe, a device or a sparse file of a terabyte in its place; reading that would
wait, or take memory, for ever.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

NOT_REGULAR = "it is no regular file"


def open_regular(file: Path, largest: int) -> BinaryIO:
    """Opens `file` for reading; links are followed. Raises OSError, also where it is no regular file or larger."""
    # O_NONBLOCK: a pipe without a writer is opened, and refused, instead of waited for
    handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        found = os.fstat(handle)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, NOT_REGULAR, str(file))
        if found.st_size > largest:
            raise _too_large(file, largest)
        return open(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(file: Path, largest: int) -> bytes:
    """All of `file`, as `open_regular` opens it. Raises OSError."""
    with open_regular(file, largest) as opened:
        data = opened.read(largest + 1)
    if len(data) > largest:  # it has grown, or is one of the kernel's, which do not tell their size
        raise _too_large(file, largest)
    return data


def by_name(file: Path) -> Path:
    """`file` under a name that means the same in every process: /dev/fd/3 and /dev/stdin are descriptors of this one.

    Raises OSError where such a one is of no regular file, or of one that has no name.
    """
    folder = os.path.realpath(file.parent)
    if folder != "/dev" and not folder.startswith("/proc/"):
        return file
    found, name = os.stat(file), Path(os.path.realpath(file))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, NOT_REGULAR, str(file))
    if not name.exists() or not os.path.samestat(found, os.stat(name)):
        raise OSError(errno.EINVAL, "it has no name by which another process could read it", str(file))
    return name


def _too_large(file: Path, largest: int) -> OSError:
    return OSError(errno.EFBIG, f"it has more than {largest} bytes", str(file))
