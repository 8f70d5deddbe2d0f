"""Where and with what a result was measured: without that a figure says nothing."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from loadtests.tools import h2load
from modelward_native.wire.session import nghttp2_release

PACKAGES = ("modelward", "onnxruntime", "uvloop", "grpcio", "protobuf", "numpy")


def facts() -> dict[str, str]:
    """What belongs beside every result, by name."""
    versions = [f"{name} {metadata.version(name)}" for name in PACKAGES]
    if h2load.installed():
        versions.append(h2load.version())
    return {
        "machine": f"{cpu()}, {len(os.sched_getaffinity(0))} cores, Linux {platform.release()}",
        "versions": ", ".join([f"Python {platform.python_version()}", f"libnghttp2 {nghttp2_release()}", *versions]),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def cpu() -> str:
    """The processor's name as the kernel tells it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def command(module: str) -> str:
    """How the running measurement is repeated."""
    return shlex.join(["python", "-m", module, *sys.argv[1:]])
