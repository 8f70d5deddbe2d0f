"""What a service manager hears, on a real socket of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelward.supervisor.notify import Notifier
from tests.support import Manager, wait_until


@pytest.fixture(params=["a path", "an abstract address"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    path = str(tmp_path / "notify") if request.param == "a path" else f"@modelward-test-{os.getpid()}"
    with contextlib.closing(Manager(path)) as manager:
        yield manager


def test_it_is_told_of_every_state(manager: Manager) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.address})
    notifier.status("loading fraud\nREADY=1")
    notifier.ready("2 of 2 workers ready")
    before = time.monotonic_ns() // 1000
    notifier.reloading()
    notifier.stopping("draining")
    manager.wait_for("STOPPING")
    assert manager.heard[0] == {"STATUS": "loading fraud READY=1"}
    assert manager.heard[1] == {"READY": "1", "STATUS": "2 of 2 workers ready"}
    assert manager.heard[2]["RELOADING"] == "1"
    assert before <= int(manager.heard[2]["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    assert manager.heard[3] == {"STOPPING": "1", "STATUS": "draining"}


def test_the_watchdog_hears_of_a_loop_that_goes_round(manager: Manager) -> None:
    watched = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "20000", "WATCHDOG_PID": str(os.getpid())}

    async def beat() -> None:
        beating = asyncio.create_task(Notifier(watched).beat())
        await asyncio.to_thread(wait_until, lambda: len(manager.heard) >= 3, "three beats")
        beating.cancel()

    asyncio.run(beat())
    assert manager.heard[:3] == [{"WATCHDOG": "1"}] * 3


def test_without_a_watchdog_of_its_own_nothing_beats(manager: Manager) -> None:
    for environ in ({}, {"WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"}):
        notifier = Notifier({"NOTIFY_SOCKET": manager.address, **environ})
        asyncio.run(notifier.beat())
    notifier.status("the end")
    manager.wait_for("STATUS")
    assert manager.heard == [{"STATUS": "the end"}]


def test_the_variables_are_taken_out_of_the_environment(manager: Manager) -> None:
    environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "OTHER": "stays"}
    Notifier(environ)
    assert environ == {"OTHER": "stays"}


def test_a_manager_that_is_not_there_hinders_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("")
    assert "did not hear READY=1" in caplog.text
    Notifier({}).ready("")
    Notifier({"NOTIFY_SOCKET": "vsock:2:1234"}).ready("")
    assert "neither a path nor an abstract address" in caplog.text
