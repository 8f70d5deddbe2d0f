"""What a server says that joins a fleet with an empty state."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proxy.fleet.memory_store import MemoryStore
from tests.proxy.fleet.servers import One, rounds, wanted
from tests.proxy.promotion.served import on_a_loop
from tests.proxy.promotion.test_approved import config


@on_a_loop
async def test_what_the_fleet_has_approved_is_not_said_to_be_taken_as_approved(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    first = One(store, tmp_path, "a")
    first.served.config = config({"2": 1})
    newer = first.served.held.pop("3")
    await first.begin()
    first.promoter.settle()
    assert "taken as approved" in caplog.text
    assert any("taken as approved" in note for note in first.promoter.notes)
    first.served.held["3"] = newer
    first.promoter.settle()
    await first.promoter.promote(wanted(100, force="a test"))
    await rounds(first)
    caplog.clear()
    second = One(store, tmp_path, "b")
    second.served.config = config({"2": 1})
    await second.begin()
    second.promoter.settle()
    assert second.promoter.state.approved == first.promoter.state.approved == {"m": {"2": "", "3": ""}}
    assert "approved" not in caplog.text
    assert not any("approved" in note for note in second.promoter.notes)
    assert not any(event.what == "taken as approved" for event in second.promoter.state.events)
