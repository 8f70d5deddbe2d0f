"""How much memory this container has left, and what was killed for want of it, by cgroups of version 2 or 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

# of this container: its bound, "max" or a number beyond all memory for none; and what it uses
BOUNDS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.stat"), ("anon", "shmem")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.stat"),
        ("total_rss", "total_shmem"),
    ),
)
# processes that were killed for want of memory: here, or where that is not counted in the whole system
KILLS = (
    Path("/sys/fs/cgroup/memory.events"),
    Path("/sys/fs/cgroup/memory/memory.oom_control"),
    Path("/proc/vmstat"),
)


def room() -> int | None:
    """Bytes that may still be written to, beside what the kernel gives back at need; None where nothing bounds them."""
    for bound, stat, kinds in BOUNDS:
        with suppress(OSError, ValueError):
            most = int(bound.read_text())
            return max(0, most - _sum(_counts(stat), kinds))
    return None


def kills() -> int:
    """Only ever grows; 0 where the kernel does not count them."""
    for file in KILLS:
        with suppress(OSError, ValueError):
            counts = _counts(file)
            if "oom_kill" in counts:
                return counts["oom_kill"]
    return 0


def _counts(file: Path) -> Mapping[str, int]:
    lines = (line.split() for line in file.read_text().splitlines())
    return {line[0]: int(line[1]) for line in lines if len(line) == 2}


def _sum(counts: Mapping[str, int], kinds: Sequence[str]) -> int:
    return sum(counts.get(kind, 0) for kind in kinds)
