"""What the supervisor says of its fleet while the store is gone."""

from __future__ import annotations

from pathlib import Path

from modelward.config.schema import Config
from modelward.server.readiness import Readiness
from modelward.supervisor.fleet import ALONE, Fleet
from tests.proxy.fleet.memory_store import MemoryStore
from tests.proxy.fleet.servers import One, rounds, three
from tests.proxy.promotion.served import on_a_loop


def fleet_of(server: One) -> Fleet:
    fleet = Fleet(server.served.config, server.promoter, Readiness())
    fleet.member = server.member
    return fleet


@on_a_loop
async def test_what_is_done_on_this_server_alone_is_said_while_the_store_is_gone(tmp_path: Path) -> None:
    store = MemoryStore()
    near, far, _ = await three(store, tmp_path)
    far.cut(off=True)
    await rounds(far)
    assert fleet_of(far).warnings == (ALONE,), "also before it is certain"
    await rounds(far)
    assert fleet_of(far).warnings == (ALONE,)
    assert fleet_of(near).warnings == ()
    far.cut(off=False)
    await rounds(far)
    assert fleet_of(far).warnings == ()


def test_a_server_without_a_fleet_is_not_called_alone(tmp_path: Path) -> None:
    server = One(MemoryStore(), tmp_path, "a")
    assert Fleet(Config(), server.promoter, Readiness()).warnings == ()
