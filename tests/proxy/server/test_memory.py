from proxy.server.memory import KEPT_BYTES, Memory


def test_memory_is_kept_once_it_has_grown_and_no_request_holds_it() -> None:
    resident = 100 * 2**20
    memory = Memory(lambda: resident)
    assert not memory.is_kept(0)
    resident += 2 * KEPT_BYTES
    assert memory.is_kept(0)
    assert not memory.is_kept(2 * KEPT_BYTES)


def test_what_is_left_after_giving_back_is_in_use() -> None:
    resident = 100 * 2**20
    memory = Memory(lambda: resident)
    resident += 2 * KEPT_BYTES
    memory.given_back(0)
    assert not memory.is_kept(0)


def test_what_requests_hold_while_memory_is_given_back_is_kept_when_they_end() -> None:
    resident = 100 * 2**20
    memory = Memory(lambda: resident)
    resident += 2 * KEPT_BYTES
    memory.given_back(2 * KEPT_BYTES)
    assert memory.is_kept(0)
