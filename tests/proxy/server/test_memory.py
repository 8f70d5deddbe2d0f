import asyncio
import ctypes
import os

import pytest

from modelward.server.memory import KEPT_BYTES, Memory, give_back, resident_bytes
from modelward_native.region.heap import Pieces

MiB = 2**20


def test_memory_is_kept_once_it_has_grown_and_no_request_holds_it() -> None:
    resident = 100 * 2**20
    memory = Memory(lambda: resident)
    assert memory.kept(0) == 0
    resident += 2 * KEPT_BYTES
    assert memory.kept(0) == 2 * KEPT_BYTES
    assert memory.kept(2 * KEPT_BYTES) == 0


def test_what_is_left_after_giving_back_is_in_use() -> None:
    resident = 100 * 2**20
    memory = Memory(lambda: resident)
    resident += 2 * KEPT_BYTES
    memory.given_back(0)
    assert memory.kept(0) == 0


def test_what_requests_hold_while_memory_is_given_back_is_kept_when_they_end() -> None:
    resident = 100 * 2**20
    memory = Memory(lambda: resident)
    resident += 2 * KEPT_BYTES
    memory.given_back(2 * KEPT_BYTES)
    assert memory.kept(0) == 2 * KEPT_BYTES


@pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer has an allocator of its own"
)
@pytest.mark.parametrize("size", [60 * 2**10, 3 * MiB])
def test_freed_memory_is_given_back_in_pieces_that_the_loop_takes_and_a_thread_clears(size: int) -> None:
    libc = ctypes.CDLL("libc.so.6")
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    blocks = [libc.malloc(size) for _ in range(128 * MiB // size)]
    pins = [libc.malloc(5000)]  # the heap's end is in use
    for block in blocks:
        ctypes.memset(block, 1, size)
    for block in blocks:
        libc.free(block)
    before = resident_bytes()
    asyncio.run(give_back(128 * MiB))
    assert before - resident_bytes() > 100 * MiB
    libc.free(pins[0])


def test_pieces_hold_nothing_before_they_are_written_to_and_are_freed_in_steps() -> None:
    pieces = Pieces()
    pieces.take(4 * MiB, 40)
    pieces.clear()
    assert pieces.clear() == 0
    assert [pieces.free(30), pieces.free(30)] == [True, False]
    with pytest.raises(ValueError, match="are the most"):
        pieces.take(5 * MiB, 1)
