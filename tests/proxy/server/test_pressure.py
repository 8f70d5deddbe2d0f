"""Whether a process lacks time."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from modelward.server import pressure
from modelward.server.pressure import Pressure

SECOND = 1_000_000_000
OTHER = 7


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the kernel tells of threads; `tell` writes it."""
    monkeypatch.setattr(pressure, "TASKS", tmp_path)
    return tmp_path


class Clock:
    """Stands still but when it is moved."""

    def __init__(self) -> None:
        self.now = SECOND

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.monotonic_ns", clock)
    return clock


def tell(tasks: Path, thread: int, ran: float, waited: float) -> None:
    (tasks / str(thread)).mkdir(exist_ok=True)
    (tasks / str(thread) / "schedstat").write_text(f"{int(ran * SECOND)} {int(waited * SECOND)} 5\n")


@pytest.mark.parametrize(
    ("ran", "waited", "lacking"),
    [(0.5, 0.0, False), (0.9, 0.0, True), (0.0, 0.9, True), (0.5, 0.4, True), (0.4, 0.4, False)],
)
def test_a_loop_that_runs_or_waits_for_a_core_all_the_time_lacks_it(
    tasks: Path, clock: Clock, ran: float, waited: float, lacking: bool
) -> None:
    me = threading.get_native_id()
    tell(tasks, me, 10, 10)
    watched = Pressure()
    clock.now += SECOND
    tell(tasks, me, 10 + ran, 10 + waited)
    assert watched.lacking(()) is lacking
    clock.now += SECOND
    assert not watched.lacking(())


def test_a_thread_that_gets_no_leftover_time_shows_that_there_is_none(tasks: Path, clock: Clock) -> None:
    me = threading.get_native_id()
    tell(tasks, me, 10, 10)
    tell(tasks, OTHER, 10, 10)
    watched = Pressure()
    assert not watched.lacking((OTHER,)), "what it waited before it was looked at says nothing"
    clock.now += SECOND
    tell(tasks, OTHER, 10.1, 10.6)
    assert watched.lacking((OTHER,))
    clock.now += SECOND
    assert not watched.lacking((OTHER,))
    assert not watched.lacking((0,)), "a thread that has not begun"


def test_without_the_kernels_word_the_time_of_the_thread_itself_counts(
    tasks: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.thread_time_ns", lambda: clock.now // 2)
    watched = Pressure()
    clock.now += SECOND
    assert not watched.lacking((OTHER,))
    monkeypatch.setattr("time.thread_time_ns", lambda: clock.now)
    clock.now += SECOND
    assert watched.lacking((OTHER,))
