"""What others have counted is gathered beside the rounds, and no step is made before it is known."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from math import inf
from pathlib import Path

from modelward.fleet.gathered import LATEST_SECONDS, Gathered, gathered, step_of
from modelward.fleet.gathering import Gathering
from modelward.fleet.store import Told
from tests.proxy.fleet.memory_store import MemoryStore
from tests.proxy.fleet.servers import rounds, three, wanted
from tests.proxy.fleet.test_evidence import SEEN
from tests.proxy.fleet.test_gathered import said
from tests.proxy.fleet.test_record import promotion
from tests.proxy.promotion.served import enough, on_a_loop


class SlowStore(MemoryStore):
    """Tells what servers have counted once `go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.asked = 0

    async def evidence(self) -> Mapping[str, Told]:
        self.asked += 1
        await self.go.wait()
        return await super().evidence()


@on_a_loop
async def test_a_leader_renews_its_lease_while_it_gathers_and_makes_no_step_before_that_is_done(tmp_path: Path) -> None:
    store = SlowStore()
    store.go.set()
    servers = await three(store, tmp_path, promotion={"hold": "0.1s"})
    store.go.clear()
    await servers[0].promoter.promote(wanted(10, 100, auto=True))
    for each in servers:
        each.served.now += 10
        enough(each.served, 20_000)
    for _ in range(5):
        for each in servers:
            await each.member.start()
        await servers[0].promoter.look()
    assert servers[0].member.leads
    assert store.asked == 1, "one at a time"
    assert [each.share for each in servers] == [10] * 3
    store.go.set()
    await rounds(*servers, count=2, looks=True)
    assert [each.share for each in servers] == [100] * 3


def test_what_others_have_counted_is_known_of_a_step_that_they_were_asked_of_lately() -> None:
    found = Gathered(100.0, {"m": step_of(promotion())})
    assert found.knows("m", promotion(), 100.0 + LATEST_SECONDS)
    assert not found.knows("m", promotion(), 101.0 + LATEST_SECONDS)
    assert not found.knows("m", promotion(1, 2, step=1), 100.0)
    assert not found.knows("other", promotion(), 100.0)


@on_a_loop
async def test_what_is_under_way_ends_with_the_server_and_a_store_that_is_gone_is_none_of_its_troubles() -> None:
    store = SlowStore()
    gathering = Gathering("a", lambda: store, lambda why: None)
    gathering.begin({}, {})
    await asyncio.sleep(0)
    gathering.stop()
    await gathering.settled()
    assert gathering.others.at == -inf
    store.go.set()
    store.down = True
    again = Gathering("a", lambda: store, lambda why: None)
    again.begin({}, {})
    await again.settled()
    assert again.others.at == -inf


@on_a_loop
async def test_who_cannot_be_read_is_told() -> None:
    store, told = MemoryStore(), list[str]()
    await store.exchange("b", identity="b/1", note=b"", evidence=b"{", revision="", may_lead=False)
    await Gathering("a", lambda: store, told.append).gather({}, {})
    assert [each[:3] for each in told] == ["b: "]


def test_no_more_is_read_once_the_server_ends() -> None:
    looks = iter((False, True))
    found = gathered({"b": said(), "c": said()}, {"m": promotion()}, {}, 0.0, lambda: next(looks))
    assert found.added("m", promotion(), SEEN, 0.0) == SEEN + SEEN
