"""What promotions keep on disk: after a restart, and where it cannot be written."""

from pathlib import Path

import pytest

from modelward.problem import ProblemsFound
from modelward.promotion.asked import Wanted
from modelward.promotion.store import RETRY_SECONDS
from tests.proxy.promotion.served import Served, on_a_loop, saved


@on_a_loop
async def test_what_was_promoted_is_so_after_a_restart(tmp_path: Path) -> None:
    served = Served()
    await served.promoter(tmp_path).promote(Wanted("m", "3", (10, 100)))
    again = served.promoter(tmp_path)
    assert again.shares == {"m": {"2": 9000, "3": 1000}}
    await again.promote(Wanted("m", "3", force="a test"))
    assert served.shared == {"m": {"3": 10_000}}


@on_a_loop
async def test_a_configuration_that_says_something_new_is_obeyed(tmp_path: Path) -> None:
    served = Served()
    promoter = served.promoter(tmp_path)
    await promoter.promote(Wanted("m", "3", (10, 100)))
    served.config = Served(versions={"2": 5, "3": 5}).config
    assert promoter.shares == {}
    await promoter.look()
    await promoter.promote(Wanted("m", "3", (100,)))
    assert served.shared == {"m": {"3": 10_000}}


def block(folder: Path) -> None:
    """From now on nothing can be written there."""
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    folder.write_text("in the way")


@on_a_loop
async def test_a_state_that_cannot_be_written_begins_nothing(tmp_path: Path) -> None:
    served = Served()
    promoter = served.promoter(tmp_path / "state")
    await promoter.promote(Wanted("m", "3", (10, 100)))
    block(tmp_path / "state")
    with pytest.raises(ProblemsFound, match="cannot be written"):
        await promoter.promote(Wanted("m", "3", force="a test"))
    assert served.shared == {"m": {"2": 9000, "3": 1000}}
    assert promoter.state.promotions["m"].percent == 10


@on_a_loop
async def test_a_rollback_that_cannot_be_written_is_done_and_written_as_soon_as_it_can_be(tmp_path: Path) -> None:
    served, folder = Served(), tmp_path / "state"
    promoter = served.promoter(folder)
    await promoter.promote(Wanted("m", "3", (10, 100)))
    block(folder)
    await promoter.rollback("m")
    assert served.shared == {"m": {"2": 1}}
    assert (promoter.store.unsaved, promoter.store.failures) == (True, 1)
    folder.unlink()
    promoter.store.retry()
    assert promoter.store.unsaved, "it is not tried at every look"
    served.now += RETRY_SECONDS
    promoter.store.retry()
    assert not promoter.store.unsaved
    assert saved(folder).promotions["m"].phase == "rolled back"


@on_a_loop
async def test_what_operators_ask_for_besides_is_kept_too(tmp_path: Path) -> None:
    promoter = Served().promoter(tmp_path)
    promoter.note("reload", "alice")
    (event,) = saved(tmp_path).events
    assert (event.what, event.actor, event.model) == ("reload", "alice", "")
