"""What another process has in its memory, changed: as a bit that flips, or a write that goes astray, would."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

_PRIVATE = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) rw-p ", re.MULTILINE)
CHUNK = 1 << 24
RESERVED = 1 << 32  # more is address space that sanitizers keep for themselves, terabytes of it


def overwrite(pid: int, before: bytes, after: bytes) -> int:
    """Wherever `before` stands in the process's private memory, `after` stands then; in how many places that was."""
    assert len(before) == len(after)
    places = 0
    with Path(f"/proc/{pid}/mem").open("r+b", buffering=0) as memory:
        for match in _PRIVATE.finditer(Path(f"/proc/{pid}/maps").read_text()):
            start, end = (int(each, 16) for each in match.groups())
            if end - start > RESERVED:
                continue
            for at in range(start, end, CHUNK):
                with contextlib.suppress(OSError):  # unmapped meanwhile
                    memory.seek(at)
                    data = memory.read(min(CHUNK + len(before) - 1, end - at))
                    found = data.find(before)
                    while found >= 0:
                        memory.seek(at + found)
                        memory.write(after)
                        places += 1
                        found = data.find(before, found + 1)
    return places
