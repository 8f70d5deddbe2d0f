"""Work that never ends is given up, and told so; what it has opened is closed."""

import threading

import pytest

from modelward.models import limited
from modelward.models.limited import Attempt, TookTooLong, within
from modelward.models.runtime import runtime
from modelward.models.warmup import warm_up
from modelward_native.backend.engine import Engine
from tests import models


@pytest.fixture(autouse=True)
def _runtime() -> None:
    runtime()


def test_a_result_and_an_exception_come_back() -> None:
    engine = within(60, lambda attempt: attempt.engine(Engine("a", "1", models.add_one())))
    engine.close()

    def fail(attempt: Attempt[None]) -> None:
        attempt.engine(Engine("a", "1", models.add_one()))
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        within(60, fail)


def test_a_run_that_never_ends_is_ended_with_its_thread() -> None:
    engines: list[Engine] = []

    def run(attempt: Attempt[str]) -> str:
        engines.append(attempt.engine(Engine("a", "1", models.slow_loop(2**62))))
        return warm_up(engines[0], 8)

    with pytest.raises(TookTooLong, match=r"longer than 0\.2 s") as found:
        within(0.2, run)
    assert not found.value.is_stuck
    assert "load" not in {thread.name for thread in threading.enumerate()}


def test_what_cannot_be_ended_is_left_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limited, "LAST_SECONDS", 0.05)
    ended = threading.Event()
    with pytest.raises(TookTooLong) as found:
        within(0.05, lambda attempt: ended.wait(60))
    assert found.value.is_stuck
    ended.set()


def test_an_engine_that_is_opened_too_late_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limited, "LAST_SECONDS", 0.05)
    go_on = threading.Event()
    engines: list[Engine] = []

    def late(attempt: Attempt[Engine]) -> Engine:
        go_on.wait(60)
        engines.append(attempt.engine(Engine("a", "1", models.slow_loop(2**62))))
        warm_up(engines[0], 8)
        return engines[0]

    with pytest.raises(TookTooLong):
        within(0.05, late)
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "load"]
    go_on.set()
    thread.join(30)
    assert not thread.is_alive(), "its runs end at once"
    assert engines


def test_who_waits_is_told_how_long_it_has_lasted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limited, "TOLD_SECONDS", 0.05)
    ended = threading.Event()
    told: list[float] = []

    def waiting(spent: float) -> None:
        told.append(spent)
        if len(told) == 3:
            ended.set()

    assert within(60, lambda attempt: ended.wait(60), waiting)
    assert told == pytest.approx([0.05, 0.1, 0.15])
