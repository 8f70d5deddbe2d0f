"""promtool and Prometheus: as scripts/peers has unpacked them, or the system's. What needs them is skipped without."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from scripts.docs import ROOT

UNPACKED = ROOT / ".cache" / "prometheus" / "usr" / "bin"
PROMTOOL, PROMETHEUS = (shutil.which(name, path=UNPACKED) or shutil.which(name) for name in ("promtool", "prometheus"))

needs_prometheus = pytest.mark.skipif(
    None in (PROMTOOL, PROMETHEUS), reason="Prometheus is not installed (scripts/peers prometheus)"
)


def promtool(*arguments: str, given: str = "") -> tuple[int, str]:
    """Exit code, and all that it says."""
    assert PROMTOOL is not None
    ended = subprocess.run(
        [PROMTOOL, *arguments], input=given, capture_output=True, text=True, timeout=120, check=False
    )
    return ended.returncode, ended.stdout + ended.stderr
