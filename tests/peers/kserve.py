"""KServe's own servicer, with models of ours."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from loadtests.race.contestant import Absent
from loadtests.tools.process import Process, started
from tests.peers.peer import Kind, Start

HOME = Path(__file__).parents[2] / ".cache" / "kserve"
PROGRAM = Path(__file__).with_name("kserve_server.py")


def prepare(folder: Path) -> Start:
    if not (HOME / "installed").exists():
        raise Absent("KServe is not installed: scripts/peers kserve installs it into .cache/kserve (450 MB)")

    def start(port: int) -> AbstractContextManager[Process]:
        # -P: this folder has a kserve of its own
        return started("KServe", [str(HOME / "bin" / "python"), "-P", str(PROGRAM), str(port)])

    return start


KSERVE = Kind("KServe", prepare, (("add", ""), ("leaving", ""), ("plain", "")))
