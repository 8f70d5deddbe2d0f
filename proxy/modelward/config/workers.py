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
    with suppress(OSError, ValueError):
        quota, period = CPU_QUOTA.read_text().split()
        if quota != "max":
            usable = min(usable, ceil(int(quota) / int(period)))
    return max(usable, 1)
