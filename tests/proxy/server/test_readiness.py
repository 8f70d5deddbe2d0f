from __future__ import annotations

import asyncio

from modelward.server.readiness import Readiness


def test_a_new_server_is_starting_and_not_ready() -> None:
    readiness = Readiness()
    assert (readiness.ready, readiness.reason) == (False, "starting")


def test_a_ready_server_has_no_reason_and_a_draining_one_does() -> None:
    readiness = Readiness()
    readiness.set(True)
    assert (readiness.ready, readiness.reason) == (True, "")
    readiness.set(False, "draining")
    assert (readiness.ready, readiness.reason) == (False, "draining")


def test_a_watcher_that_was_slow_learns_the_latest_state_only() -> None:
    async def states() -> list[bool]:
        readiness = Readiness()
        changes = readiness.changes()
        seen = [await anext(changes)]
        for ready in (True, False, True):
            readiness.set(ready)
        seen.append(await anext(changes))
        readiness.set(False)
        seen.append(await anext(changes))
        return seen

    assert asyncio.run(states()) == [False, True, False]


def test_a_waiting_watcher_is_woken_by_a_change_made_while_it_waits() -> None:
    async def state() -> bool:
        readiness = Readiness()
        changes = readiness.changes()
        await anext(changes)
        waiting = asyncio.ensure_future(anext(changes))
        asyncio.get_running_loop().call_soon(readiness.set, True)
        return await asyncio.wait_for(waiting, timeout=10)

    assert asyncio.run(state()) is True
