"""Reloads of the whole server, as they are noted for operators."""

import asyncio
from types import SimpleNamespace
from typing import Any

from modelward.config.load import load
from modelward.supervisor.reloader import Reloader


class Pool:
    report = None

    def __init__(self) -> None:
        self.shares: dict[str, Any] = {}

    async def rule(self, config: Any) -> tuple[str, ...]:
        return ("limits",)

    async def reload(self, config: Any) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        return ("model m version 2 is new",), ()

    async def share(self, shares: Any) -> None:
        pass


def test_changes_that_come_together_are_noted_once_and_each_operator_is() -> None:
    notes: list[tuple[str, str]] = []

    def note(what: str, actor: str, why: str = "", *, kept: bool = False) -> None:
        notes.append((what, actor))

    pool: Any = Pool()
    promoter: Any = SimpleNamespace(note=note, settle=lambda: None, expect=lambda *_: None, shares={})
    notifier: Any = SimpleNamespace(reloading=lambda: None)

    async def run() -> None:
        read = lambda: load(sets=["upstreams=[127.0.0.1:1]"], environ={})  # noqa: E731
        reloader = Reloader(read(), read, lambda: pool, promoter, notifier, done=lambda said: None)
        await asyncio.gather(reloader.reload(), reloader.reload())
        assert notes == [("reload", "watching")]
        await reloader.reload()
        assert notes == [("reload", "watching")] * 2
        notes.clear()
        await asyncio.gather(reloader.reload("one"), reloader.reload("other"), reloader.reload())
        assert sorted(notes) == [("reload", "one"), ("reload", "other")]

    asyncio.run(run())
