"""The trail: what is confirmed outlives everything, what cannot be recorded is told in bounded time."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import pytest
from msgspec import structs

from modelward.audit.action import NotDone, recorded
from modelward.audit.files import CHECKPOINT, LogReader, LogWriter
from modelward.audit.log import Gone, Log, Mishap
from modelward.audit.note import Signer, stamp
from modelward.audit.record import LARGEST_RECORD, Actor, Record, automatic, human, now
from modelward.audit.recorder import NotRecorded
from modelward.audit.trail import BATCH, LOST, MOST_WAITING, Trail
from modelward.audit.verify import verify
from modelward.problem import Problem, ProblemsFound

P = ParamSpec("P")
SIGNER = Signer("log.example", bytes(range(32)))
ALICE = Actor(name="alice", proof="certificate")
FULL = OSError(errno.ENOSPC, "No space left on device")


def on_a_loop(test: Callable[P, Coroutine[None, None, None]]) -> Callable[P, None]:
    @wraps(test)
    def run(*arguments: P.args, **keywords: P.kwargs) -> None:
        asyncio.run(asyncio.wait_for(test(*arguments, **keywords), 30))

    return run


class Store:
    """A log in files that fails, hangs and counts as the test wants it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.error: Exception | None = None
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.batches: list[int] = []
        self._log: LogWriter | None = None

    def open(self, mishap: Mishap) -> Log:
        self._log = LogWriter.open(self.folder, SIGNER, mishap)
        return self

    @property
    def checkpoint(self) -> Any:
        assert self._log is not None
        return self._log.checkpoint

    def append(self, records: Sequence[Record]) -> int:
        assert self._log is not None
        self.goes_on.wait(20)
        if self.error is not None:
            raise self.error
        self.batches.append(len(records))
        return self._log.append(records)

    def reader(self) -> LogReader:
        return LogReader(self.folder)

    def close(self) -> None:
        assert self._log is not None
        self._log.close()

    def records(self) -> list[dict[str, Any]]:
        found = verify(self.reader(), SIGNER.verifier)
        assert found.findings == ()
        assert found.checkpoint is not None
        return [json.loads(each) for each in self.reader().records(0, found.checkpoint.size)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "log")
    yield made
    made.goes_on.set()


def trail_of(store: Store, **settings: Any) -> Trail:
    return Trail(store.open, str(store.folder), **({"name": "here", "retry": 0.02, "patience": 10.0} | settings))


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


@on_a_loop
async def test_what_is_confirmed_is_in_the_log_with_its_number(store: Store) -> None:
    trail = trail_of(store)
    await trail.start()
    trail.note(automatic("server.start"))
    assert await trail.confirm(human("promote", ALICE, model="add")) == 1
    assert [(r["n"], r["verb"], r["server"]) for r in store.records()] == [
        (0, "server.start", "here"),
        (1, "promote", "here"),
    ]
    await trail.stop()
    assert "2 records" in trail.words


@on_a_loop
async def test_all_that_waits_shares_one_checkpoint(store: Store) -> None:
    trail = trail_of(store)
    await trail.start()
    store.goes_on.clear()
    trail.note(automatic("first"))
    waiting = [asyncio.create_task(trail.confirm(human("reload", ALICE))) for _ in range(50)]
    await until(lambda: trail.stats().waiting == 51)
    store.goes_on.set()
    assert sorted(await asyncio.gather(*waiting)) == [*range(1, 51)]
    assert len(store.batches) <= 3, "the first checkpoint, the first record, and all the others"
    await trail.stop()


@pytest.mark.parametrize(
    ("error", "why", "how"),
    [
        (FULL, "No space left on device", "Make room"),
        (OSError(errno.EROFS, "Read-only file system"), "Read-only file system", "Let the server write there"),
        (
            ProblemsFound([Problem("the log was changed", "x", how="Look into it")]),
            "the log was changed",
            "Look into it",
        ),
    ],
)
@on_a_loop
async def test_an_action_that_cannot_be_recorded_is_not_done_and_is_recorded_as_refused_later(
    store: Store, error: Exception, why: str, how: str
) -> None:
    trail, done = trail_of(store), []
    await trail.start()
    store.error = error

    async def act() -> None:
        done.append(1)

    with pytest.raises(NotRecorded) as refused:
        await recorded(trail, human("promote", ALICE, model="add"), act)
    (problem,) = refused.value.problems
    assert why in problem.why
    assert how in problem.how
    assert str(store.folder) in problem.where
    assert not done
    assert "refused until it can" in trail.words
    trail.note(automatic("version.taken_back", model="add"))
    store.error = None
    await until(lambda: trail.stats().up and not trail.stats().waiting)
    told = [(r["verb"], r["result"], r.get("of")) for r in store.records()]
    assert told == [("promote", "asked", None), ("version.taken_back", "done", None), ("promote", "refused", 0)]
    await trail.stop()


@on_a_loop
async def test_a_store_that_hangs_does_not_hang_who_asks(store: Store) -> None:
    trail = trail_of(store, patience=0.1)
    await trail.start()
    store.goes_on.clear()
    with pytest.raises(NotRecorded, match=r"has not answered within 0\.1 s"):
        await trail.confirm(human("restart", ALICE, result="asked"))
    store.goes_on.set()
    await until(lambda: not trail.stats().waiting)
    assert [(r["result"], r.get("of")) for r in store.records()] == [("asked", None), ("refused", 0)]
    assert "has not answered" in store.records()[1]["problems"][0]["why"]
    await trail.stop()


@on_a_loop
async def test_a_store_that_hangs_at_the_start_and_the_end_holds_up_neither(store: Store) -> None:
    trail = trail_of(store, patience=0.1)
    store.goes_on.clear()
    await trail.start()
    assert "no answer for" in trail.words
    assert trail.stats().up == 0
    trail.note(automatic("server.stop"))
    await trail.stop()
    with pytest.raises(NotRecorded, match="the server ends"):
        await trail.confirm(human("restart", ALICE))


@on_a_loop
async def test_what_finds_no_room_is_counted_and_the_count_recorded(store: Store) -> None:
    trail = trail_of(store)
    await trail.start()
    store.error = FULL
    for _ in range(MOST_WAITING + BATCH + 7):  # a batch that is being written leaves its places
        trail.note(automatic("breaker.opened"))
    lost = trail.stats().lost
    assert 7 <= lost <= BATCH + 7
    with pytest.raises(NotRecorded, match="No space left"):  # people have places of their own
        await trail.confirm(human("rollback", ALICE))
    store.error = None
    await until(lambda: trail.stats().up and not trail.stats().waiting)
    (summary,) = [r for r in store.records() if r["verb"] == LOST]
    assert (summary["kind"], summary["figures"]) == ("summary", {"records": {"breaker.opened": lost}})
    await trail.stop()


@on_a_loop
async def test_a_batch_that_was_written_after_all_is_not_written_twice(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint is in its place, and only making that outlive a loss of power fails."""
    trail = trail_of(store)
    await trail.start()
    await trail.confirm(human("reload", ALICE))
    replace = os.replace

    def failing(source: Any, target: Any) -> None:
        replace(source, target)
        if str(target).endswith(CHECKPOINT):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "replace", failing)
    trail.note(automatic("worker.died"))
    await until(lambda: not trail.stats().up)
    monkeypatch.undo()
    await until(lambda: trail.stats().up and not trail.stats().waiting)
    assert [r["verb"] for r in store.records()] == ["reload", "worker.died"]
    await trail.stop()


@on_a_loop
async def test_a_checkpoint_is_signed_again_though_nothing_happens(store: Store) -> None:
    trail = trail_of(store, interval=0.05)
    await trail.start()
    await until(lambda: len(store.batches) >= 4)
    assert set(store.batches) == {0}
    assert stamp(store.reader().note(), SIGNER.verifier) > 1_700_000_000
    await trail.stop()


@on_a_loop
async def test_a_store_that_cannot_be_opened_is_tried_on(store: Store) -> None:
    store.folder.parent.mkdir(exist_ok=True)
    store.folder.write_text("in the way")
    trail = trail_of(store)
    await trail.start()
    assert trail.stats().up == 0
    trail.note(automatic("server.start"))
    store.folder.unlink()
    await until(lambda: trail.stats().up and not trail.stats().waiting)
    assert [r["verb"] for r in store.records()] == ["server.start"]
    await trail.stop()


@on_a_loop
async def test_whatever_is_to_be_recorded_fits(store: Store) -> None:
    trail = trail_of(store)
    await trail.start()
    trail.note(automatic("big", figures={"x": "y" * LARGEST_RECORD}, reason="z" * 10_000))
    trail.note(automatic("odd", after={"x": object()}))
    trail.note(automatic("strange", reason="lone \udc80"))
    await trail.confirm(human("reload", ALICE))
    big, odd, strange, _ = store.records()
    assert "left out" in big["figures"]["left_out"]
    assert len(big["reason"]) == 2000
    assert "left out" in odd["figures"]["left_out"]
    assert strange["reason"] == "lone ?"
    await trail.stop()


@on_a_loop
async def test_what_came_of_an_action_is_recorded(store: Store) -> None:
    trail = trail_of(store)
    await trail.start()

    async def one() -> int:
        return 1

    async def refused() -> None:
        raise ProblemsFound([Problem("no", "here")])

    async def not_now() -> None:
        raise NotDone("it is draining")

    async def fails() -> None:
        raise ValueError("a secret")

    assert await recorded(trail, human("promote", ALICE), one, lambda n: {"after": {"n": n}}) == 1
    for act, error in ((refused, ProblemsFound), (not_now, NotDone), (fails, ValueError)):
        with pytest.raises(error):
            await recorded(trail, human("promote", ALICE, reason="because"), act)
    await trail.stop()
    outcomes = [r for r in store.records() if r["result"] != "asked"]
    assert [(r["of"], r["result"], r.get("reason")) for r in outcomes] == [
        (0, "done", None),
        (2, "refused", "because"),
        (4, "refused", "it is draining"),
        (6, "failed", "ValueError"),
    ]
    assert outcomes[0]["after"] == {"n": 1}


@on_a_loop
async def test_nobody_is_told_of_a_failure_before_it_is_on_record(store: Store) -> None:
    trail = trail_of(store)
    await trail.start()

    async def fails() -> None:
        store.goes_on.clear()
        raise ValueError

    asking = asyncio.create_task(recorded(trail, human("promote", ALICE), fails))
    await until(lambda: not store.goes_on.is_set() and trail.stats().waiting == 1)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not asking.done()
    store.goes_on.set()
    with pytest.raises(ValueError):
        await asking
    assert store.records()[-1]["result"] == "failed"
    await trail.stop()


@on_a_loop
async def test_what_was_done_for_a_proposal_is_read_back(store: Store) -> None:
    trail = trail_of(store, name="here")
    with pytest.raises(NotRecorded, match="not open yet"):
        await trail.told_of(7, "promote", now())
    await trail.start()
    began = now()
    await trail.confirm(structs.replace(human("promote", ALICE, proposal=7), at=began - timedelta(hours=1)))
    for fields in ({"proposal": 7}, {"proposal": 8}, {"proposal": 7, "server": "other"}, {"proposal": 7, "of": 1}):
        await trail.confirm(human("promote", ALICE, **fields))
    await trail.confirm(human("proposal.approve", ALICE, proposal=7))
    assert [(r["n"], r.get("of")) for r in await trail.told_of(7, "promote", began)] == [(1, None), (4, 1)]
    (store.folder / "tile").rename(store.folder / "elsewhere")
    with pytest.raises(NotRecorded, match="is gone"):
        await trail.told_of(7, "promote", began)
    (store.folder / "elsewhere").rename(store.folder / "tile")
    await trail.stop()


@on_a_loop
async def test_an_action_ends_and_is_recorded_though_its_caller_has_gone(store: Store) -> None:
    trail, began, goes_on, done = trail_of(store), asyncio.Event(), asyncio.Event(), []
    await trail.start()

    async def act() -> None:
        began.set()
        await goes_on.wait()
        done.append(1)

    asking = asyncio.create_task(recorded(trail, human("promote", ALICE), act))
    await began.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    goes_on.set()
    await until(lambda: len(store.records()) == 2)
    assert done == [1]
    assert store.records()[1]["result"] == "done"
    await trail.stop()


def killed(store: Store, *, also: Sequence[Record] = ()) -> None:
    """Leaves a log of a server that has started, and was killed while one thing was under way."""
    log = store.open(lambda what, error: None)
    begun = [automatic("server.start", server="here"), human("reload", ALICE, result="asked", server="here")]
    store.append([*begun, human("reload", ALICE, of=1, server="here"), *also])
    log.close()


UNDER_WAY = human("promote", ALICE, result="asked", model="add", proposal=4, reason="better", server="here")
OF_ANOTHER = human("drain", ALICE, result="asked", server="there")


@on_a_loop
async def test_a_start_tells_first_that_it_does_not_know_what_came_of_what_was_under_way(store: Store) -> None:
    killed(store, also=[UNDER_WAY, OF_ANOTHER])
    for _ in range(2):
        trail = trail_of(store)
        trail.note(automatic("server.start"))
        await trail.start()
        await trail.stop()
    outcome, *later = store.records()[5:]
    assert [r["verb"] for r in later] == ["server.start", "server.start"], "it is told once"
    assert (outcome["verb"], outcome["result"], outcome["of"]) == ("promote", "unknown", 3)
    assert (outcome["kind"], outcome["model"], outcome["proposal"], outcome["server"]) == ("human", "add", 4, "here")
    assert outcome["reason"] == "the server ended before it told what came of it"
    assert outcome["actor"]["name"] == "alice"


@on_a_loop
async def test_what_came_of_it_is_told_by_who_knows_and_once_the_store_is_back(store: Store) -> None:
    killed(store, also=[UNDER_WAY, human("reload", ALICE, result="asked", proposal=5, server="here")])
    store.error = FULL
    trail = trail_of(store, tell=lambda asked: {"result": "done"} if asked["proposal"] == 4 else None)
    trail.note(automatic("server.start"))
    await trail.start()
    assert len(store.records()) == 5
    store.error = None
    await until(lambda: trail.stats().waiting == 0)
    await trail.stop()
    outcome, start = store.records()[5:]
    assert (outcome["verb"], outcome["result"], outcome["of"]) == ("promote", "done", 3)
    assert outcome["reason"] == "better"
    assert start["verb"] == "server.start"
    assert trail.stats().records == 2


@on_a_loop
async def test_an_older_start_is_not_looked_behind(store: Store) -> None:
    killed(store, also=[UNDER_WAY, automatic("server.start", server="here")])
    trail = trail_of(store)
    await trail.start()
    await trail.stop()
    assert len(store.records()) == 5


@on_a_loop
async def test_a_log_whose_records_cannot_be_read_goes_on(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(store, also=[UNDER_WAY])

    class Changed(LogReader):
        def bundle(self, index: int, width: int) -> list[bytes]:
            raise Gone("record 3 was changed")

    monkeypatch.setattr(store, "reader", lambda: Changed(store.folder))
    trail = trail_of(store)
    trail.note(automatic("server.start"))
    await trail.start()
    await trail.stop()
    assert (trail.stats().records, trail.stats().failures["reading back"]) == (1, 1)
    assert "record 3 was changed" in caplog.text
