"""The file of promotions: written whole, twice, and what becomes of one that is broken or gone."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from msgspec import structs

from modelward.problem import ProblemsFound
from modelward.promotion.state import LONGEST_REASON, MOST_EVENTS, State
from modelward.promotion.store import BROKEN, COPY, FILE, LARGEST_FILE, Store, unwritable
from modelward.records import written
from tests.proxy.promotion.test_state import BEGUN, STEPPING

WRITTEN = State().with_promotion("m", STEPPING, BEGUN)
BROKEN_TEXTS = ["", "{", "[]", '{"promotions": {"m": {}}}', '{"unknown": 1}', "\xff"]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "modelward"
    store = Store(folder)
    assert store.load() == State(), "there is nothing yet"
    assert not store.lost
    store.save(WRITTEN)
    assert Store(folder).load() == WRITTEN
    assert stat.S_IMODE((folder / FILE).stat().st_mode) == 0o600
    assert sorted(f.name for f in folder.iterdir()) == sorted([FILE, COPY]), "nothing is left beside them"


def test_the_fullest_state_can_be_read_again(tmp_path: Path) -> None:
    full = WRITTEN
    wide = "\N{GRINNING FACE}"
    event = structs.replace(BEGUN, model=wide * 128, why=wide * LONGEST_REASON, actor=wide * 200)
    for _ in range(MOST_EVENTS):
        full = full.with_event(event)
    Store(tmp_path).save(full)
    assert (tmp_path / FILE).stat().st_size < LARGEST_FILE / 2
    assert Store(tmp_path).load() == full


def test_of_a_state_that_is_too_long_the_oldest_events_are_left_out(tmp_path: Path) -> None:
    wide = {f"{number:03}{'x' * 240}": 1 for number in range(220)}
    promotions = {str(number): structs.replace(STEPPING, before=wide) for number in range(200)}
    long = structs.replace(WRITTEN, promotions=promotions)
    for number in range(MOST_EVENTS):
        long = long.with_event(structs.replace(BEGUN, at=float(number), why="x" * LONGEST_REASON * 20))
    Store(tmp_path).save(long)
    found = Store(tmp_path).load()
    assert found.promotions == promotions
    assert 0 < len(found.events) < MOST_EVENTS
    assert found.events[-1] == long.events[-1]


def test_a_state_that_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save(WRITTEN)
    wide = {f"{number:03}{'x' * 240}": 1 for number in range(220)}
    promotions = {str(number): structs.replace(STEPPING, before=wide) for number in range(400)}
    with pytest.raises(ProblemsFound, match="no more than 16777216 are read again"):
        store.save(structs.replace(WRITTEN, promotions=promotions))
    assert Store(tmp_path).load() == WRITTEN


@pytest.mark.parametrize("text", [*BROKEN_TEXTS, None])
def test_a_file_that_is_broken_or_gone_is_taken_from_its_copy_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str | None
) -> None:
    Store(tmp_path).save(WRITTEN)
    if text is None:
        (tmp_path / FILE).unlink()
    else:
        (tmp_path / FILE).write_text(text, encoding="latin-1")
    store = Store(tmp_path)
    assert store.load() == WRITTEN
    assert not store.lost
    assert "taken from the copy" in caplog.text
    assert (tmp_path / BROKEN).exists() == (text is not None)
    assert Store(tmp_path).load() == WRITTEN
    assert caplog.text.count("taken from the copy") == 1, "it was mended"


@pytest.mark.parametrize(
    "nonsense",
    [
        {"step": 7},
        {"step": -1},
        {"steps": ()},
        {"steps": (2**70,)},
        {"steps": (-50,)},
        {"before": {"1": -5}},
        {"configured": {"1": -5}},
        {"since": 1e300},
        {"proposal": -1},
        {"version": ""},
        {"epoch": 2**64},
    ],
)
def test_a_file_that_makes_no_sense_is_taken_from_its_copy_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, nonsense: dict[str, object]
) -> None:
    Store(tmp_path).save(WRITTEN)
    wrong = structs.replace(WRITTEN, promotions={"m": structs.replace(STEPPING, **nonsense)})
    (tmp_path / FILE).write_bytes(written(wrong))
    assert Store(tmp_path).load() == WRITTEN
    assert "at `$.promotions['m']`" in caplog.text
    assert "taken from the copy" in caplog.text


def test_an_event_that_makes_no_sense_is_told_by_its_place(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wrong = structs.replace(WRITTEN, events=(BEGUN, structs.replace(BEGUN, at=-1.0)))
    (tmp_path / FILE).write_bytes(written(wrong))
    assert Store(tmp_path).load() == State()
    assert "the event is out of range - at `$.events[1]`" in caplog.text


@pytest.mark.parametrize("text", BROKEN_TEXTS)
@pytest.mark.parametrize("copy", [True, False])
def test_without_a_good_copy_the_state_is_lost_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, *, copy: bool
) -> None:
    for name in (FILE, COPY) if copy else (FILE,):
        (tmp_path / name).write_text(text, encoding="latin-1")
    store = Store(tmp_path)
    assert store.load() == State()
    assert store.lost
    assert str(tmp_path / FILE) in caplog.text
    assert "Put back a good one" in caplog.text
    assert "lost" in store.words


def test_a_file_that_is_removed_while_the_server_runs_is_written_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path)
    store.save(WRITTEN)
    (tmp_path / FILE).unlink()
    store.retry()
    assert Store(tmp_path).load() == WRITTEN
    assert "is gone while the server runs" in caplog.text


def test_another_file_of_the_folder_that_is_removed_is_written_again_too(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    store = Store(folder)
    store.beside = {"sticky.key": "00\n"}
    store.retry()
    assert (folder / "sticky.key").read_text() == "00\n"
    assert [file.name for file in folder.iterdir()] == ["sticky.key"]


def test_a_folder_that_cannot_be_made_is_a_problem_that_says_how_to_mend_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file" / "state")
    with pytest.raises(ProblemsFound, match="Set state to a folder"):
        store.save(State())
    assert not store.unsaved, "nothing has changed"


def test_whether_a_folder_can_be_written_is_known_before_it_is_needed(tmp_path: Path) -> None:
    assert unwritable(tmp_path / "not" / "yet") is None
    assert list(tmp_path.iterdir()) == [], "nothing is made for the question"
    (tmp_path / "file").write_text("")
    problem = unwritable(tmp_path / "file" / "state")
    assert problem is not None
    assert "is no folder" in problem.why


def test_failures_are_logged_once_a_minute_and_tried_every_two_seconds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    now = 1000.0
    store = Store(tmp_path / "file", lambda: now)
    assert store.keep(WRITTEN) is not None
    for _ in range(100):
        now += 0.5
        store.retry()
    assert 20 <= store.failures <= 30
    assert caplog.text.count("a restart would undo it") == 1
    now += 60
    store.retry()
    assert caplog.text.count("a restart would undo it") == 2
