"""How many processes serve: a number, or one for each core that this process may use."""

import os
from contextlib import suppress
from math import ceil
from pathlib import Path

from modelward.config.fields import WithJsonSchema
from modelward.config.units import UnitError

MOST_WORKERS = 64
WORKERS_SCHEMA = WithJsonSchema(
    {"anyOf": [{"type": "integer", "minimum": 1, "maximum": MOST_WORKERS}, {"const": "auto"}], "default": 1}
)
# of this container; the first of the two words is the quota in us, "max" for none, the second its period
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
# the same where cgroups are of version 1: a file for each, and no quota is -1
CPU_QUOTA_1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")


def parse_workers(value: object) -> int:
    """`auto` is a worker per core. Raises UnitError."""
    if value == "auto":
        return min(cores(), MOST_WORKERS)
    if not isinstance(value, int) or isinstance(value, bool):
        raise UnitError(f"{value!r} is not a number of workers", f"Write 1 to {MOST_WORKERS}, or auto")
    return value


def cores() -> int:
    """That this process may use, by its affinity and by its container's quota; a part of one counts as one."""
    usable = len(os.sched_getaffinity(0))
    for files in ((CPU_QUOTA,), CPU_QUOTA_1):
        with suppress(OSError, ValueError):
            quota, period = " ".join(file.read_text() for file in files).split()
            if quota not in ("max", "-1"):
                usable = min(usable, ceil(int(quota) / int(period)))
    return max(usable, 1)
