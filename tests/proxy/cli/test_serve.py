"""What becomes of a watch of files that fails."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest

from proxy.cli.serve import _told


async def watching(supervisor: SimpleNamespace, *, fails: bool) -> None:
    async def watch() -> None:
        if fails:
            raise OSError("too many open files")
        await asyncio.Event().wait()

    task = asyncio.get_running_loop().create_task(watch())
    task.add_done_callback(partial(_told, cast(Any, supervisor)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0)


@pytest.mark.parametrize("fails", [True, False])
def test_a_watch_that_fails_is_counted_and_told_and_one_that_is_ended_is_not(
    caplog: pytest.LogCaptureFixture, *, fails: bool
) -> None:
    supervisor = SimpleNamespace(watch_failures=0)
    with caplog.at_level(logging.ERROR):
        asyncio.run(watching(supervisor, fails=fails))
    assert supervisor.watch_failures == int(fails)
    assert [m for m in caplog.messages if "no longer watched" in m] == (
        ["files are no longer watched, only SIGHUP reloads: too many open files"] if fails else []
    )
