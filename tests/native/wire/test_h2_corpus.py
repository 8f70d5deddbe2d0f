"""Recorded HTTP/2 attacks (h2spec, nghttp2's fuzzing corpus), each replayed as one connection.

The recordings are not part of this project: MODELWARD_SHARED names a folder with data/h2corpus, or a sibling of the
project is called shared. Without them there is nothing to replay, and these tests are skipped.
"""

import gc
import os
from pathlib import Path

import pytest

from loadtests.fuzz.script import TEMPLATES
from tests.native.simulated import Client, Start, models, start
from tests.native.wire.test_connection import allocated

__all__ = ["models", "start"]  # fixtures

SHARED = Path(os.environ.get("MODELWARD_SHARED") or Path(__file__).parents[4] / "shared")
FILES = sorted(SHARED.glob("data/h2corpus/*/*"))
OUTPUT = 256 * 1024  # bytes that any of them may make the server say

pytestmark = pytest.mark.skipif(not FILES, reason="no data/h2corpus where MODELWARD_SHARED points")


def replay(start: Start, data: bytes, size: int) -> int:
    """One connection in pieces of `size` bytes, then an honest one; how many bytes the first was sent."""
    simulation = start()
    peer = simulation.connect()
    peer.send(data, [size] * (len(data) // size + 1))
    simulation.settle()
    said = len(peer.taken)
    assert Client(simulation).call(TEMPLATES[0]).code == 0, "the next client is not served"
    simulation.end()
    simulation.loop.rewind()
    return said


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name[:12])
@pytest.mark.parametrize("size", [1, 65536], ids=["bytewise", "whole"])
def test_a_recorded_attack_harms_no_client(start: Start, file: Path, size: int) -> None:
    # what is left behind when everyone has gone fails in Simulation.end, what is raised unheard in the fixture
    assert replay(start, file.read_bytes(), size) <= OUTPUT


def test_recorded_attacks_leave_no_memory_behind(start: Start) -> None:
    def all_of_them() -> None:
        for file in FILES:
            replay(start, file.read_bytes(), 65536)
        gc.collect()

    all_of_them()
    all_of_them()
    before = allocated()
    all_of_them()
    assert allocated() - before < len(FILES) * 128
