"""What prometheus_client's own collectors tell of a process, without that library: 1 MiB that no other page needs.

Names, units and help texts are theirs: https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics.
"""

from __future__ import annotations

import gc
import os
import platform
import resource
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from modelward.telemetry.metrics.family import Family, Kind

PROC = Path("/proc")
_USER_TIME, _SYSTEM_TIME, _START, _VIRTUAL, _RESIDENT = 11, 12, 19, 20, 21  # in /proc/PID/stat, behind the name


def process_families() -> Iterator[Family]:
    """Of this process and its interpreter. What cannot be read is left out."""
    with suppress(OSError):  # no /proc
        yield from _of_the_process()
    version = platform.python_version()
    labels = ("implementation", "major", "minor", "patchlevel", "version")
    parts = tuple(version.split("."))
    values = (platform.python_implementation(), *parts, version)
    yield _family("python_info", "gauge", "Python platform information", labels, [(values, 1.0)])
    for name, key, words in (
        ("python_gc_objects_collected", "collected", "Objects collected during gc"),
        ("python_gc_objects_uncollectable", "uncollectable", "Uncollectable objects found during GC"),
        ("python_gc_collections", "collections", "Number of times this generation was collected"),
    ):
        rows = [((str(i),), float(generation[key])) for i, generation in enumerate(gc.get_stats())]
        yield _family(name, "counter", words, ("generation",), rows)


def _of_the_process() -> Iterator[Family]:
    # the command's name stands in parentheses and may hold any character
    stat = (PROC / "self/stat").read_text().rpartition(") ")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    cpu = (int(stat[_USER_TIME]) + int(stat[_SYSTEM_TIME])) / ticks
    resident = int(stat[_RESIDENT]) * resource.getpagesize()
    kept: tuple[tuple[str, Kind, str, float], ...] = (
        ("process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", float(stat[_VIRTUAL])),
        ("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", float(resident)),
        (
            *("process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds."),
            _booted() + int(stat[_START]) / ticks,
        ),
        ("process_cpu_seconds", "counter", "Total user and system CPU time spent in seconds.", cpu),
        ("process_open_fds", "gauge", "Number of open file descriptors.", float(len(os.listdir(PROC / "self/fd")))),
        (
            *("process_max_fds", "gauge", "Maximum number of open file descriptors."),
            float(resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
        ),
    )
    for name, kind, words, value in kept:
        yield _family(name, kind, words, (), [((), value)])


@cache
def _booted() -> float:
    """Seconds since 1970."""
    line = next(line for line in (PROC / "stat").read_text().splitlines() if line.startswith("btime "))
    return float(line.split()[1])


def _family(
    name: str, kind: Kind, words: str, labels: tuple[str, ...], rows: Sequence[tuple[tuple[str, ...], float]]
) -> Family:
    found = Family(name, kind, words, labels)
    for values, value in rows:
        found.add(values, value)
    return found
