"""What the supervisor says of its fleet while the store is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelward.config.schema import Config
from modelward.fleet.store import StoreError
from modelward.problem import ProblemsFound
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


@on_a_loop
async def test_a_store_that_refuses_is_told_with_what_to_mend(tmp_path: Path) -> None:
    near, _, _ = await three(MemoryStore(), tmp_path)
    near.cut(off=True)
    with pytest.raises(ProblemsFound) as found:
        await fleet_of(near).servers()
    (problem,) = found.value.problems
    assert "it is down" in problem.what
    assert "fleet.password_file" in problem.how


def test_an_error_of_a_store_ends_without_a_stop() -> None:
    assert str(StoreError("invalid password or user is disabled.")) == "invalid password or user is disabled"


def test_a_server_without_a_fleet_is_not_called_alone(tmp_path: Path) -> None:
    server = One(MemoryStore(), tmp_path, "a")
    assert Fleet(Config(), server.promoter, Readiness()).warnings == ()
