"""Reloads of the whole server, as they are noted for operators."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from modelward.audit.record import Record
from modelward.audit.recorder import NoTrail
from modelward.config.digest import digest
from modelward.config.load import load
from modelward.problem import Problem
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


class Trail(NoTrail):
    def __init__(self) -> None:
        self.records: list[Record] = []

    def note(self, record: Record) -> None:
        self.records.append(record)


class Unchanged(Pool):
    async def rule(self, config: Any) -> tuple[str, ...]:
        return ()

    async def reload(self, config: Any) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        return (), ()


def test_what_waits_for_a_restart_is_recorded_once_and_told_until_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    upstream, operators = "upstreams=[127.0.0.1:1]", "operators={bindings: [{user: root, roles: [administrator]}]}"
    without, having = (
        load(sets=[upstream, "listen.admin=unix:/x", *sets], environ={}) for sets in ([], [operators, "approvals={}"])
    )
    files, trail = [having], Trail()
    pool: Any = Unchanged()
    promoter: Any = SimpleNamespace(note=lambda *_, **__: None, settle=lambda: None, expect=lambda *_: None, shares={})
    notifier: Any = SimpleNamespace(reloading=lambda: None)
    told = "operators, approvals: changed only by a restart"

    async def run() -> None:
        done, recorder = lambda said: None, lambda: trail
        reloader = Reloader(having, lambda: files[-1], lambda: pool, promoter, notifier, done=done, recorder=recorder)
        await reloader.reload()
        assert (reloader.needs_restart, trail.records) == ((), [])
        files.append(without)
        assert (await reloader.reload("an operator", rights=False)).problems[0].what == "operators and approvals differ"
        for _ in range(2):
            await reloader.reload()
        (record,) = trail.records
        assert (record.verb, record.after["needs_restart"]) == ("files.followed", ["operators", "approvals"])
        assert "operators.bindings[0].user: 'root' -> absent" in record.after["rights"]
        assert record.before["config"] == digest(having) == record.after["config"], "the same goes on until a restart"
        assert (reloader.needs_restart, reloader.config.approvals) == (("operators", "approvals"), having.approvals)
        assert not (await reloader.reload("an operator", rights=False)).problems, "it was followed by who may"
        caplog.clear()
        monkeypatch.setattr("modelward.supervisor.reloader.REMIND_SECONDS", 0.0)
        reminding = asyncio.create_task(reloader.remind())
        while told not in caplog.text:
            await asyncio.sleep(0)
        reminding.cancel()
        files.append(having)
        await reloader.reload()
        assert (reloader.needs_restart, "needs_restart" in trail.records[-1].after) == ((), False)
        assert len(trail.records) == 2

    asyncio.run(run())


def test_files_with_a_problem_are_told_while_models_are_followed_by_what_was_approved() -> None:
    config = load(sets=["upstreams=[127.0.0.1:1]"], environ={})
    problem = Problem("nope: unknown key", "modelward.yaml:14")
    faulty: list[tuple[Problem, ...]] = [(problem,)]
    pool: Any = Pool()
    promoter: Any = SimpleNamespace(note=lambda *_, **__: None, settle=lambda: None, expect=lambda *_: None, shares={})
    notifier: Any = SimpleNamespace(reloading=lambda: None)
    done, tell = lambda said: None, lambda: faulty[-1]
    reloader = Reloader(config, lambda: config, lambda: pool, promoter, notifier, done=done, faulty=tell)

    async def run() -> None:
        outcome = await reloader.reload("ann")
        assert (outcome.problems, bool(outcome.changed)) == ((problem,), True)
        assert reloader.history.refused is not None
        assert (reloader.history.unread, reloader.history.refused.problems) == (1, (problem,))
        faulty.append(())
        assert not (await reloader.reload("ann")).problems
        assert (reloader.history.unread, reloader.history.refused) == (1, None)

    asyncio.run(run())


def test_a_reload_that_changes_who_may_do_what_is_told(caplog: pytest.LogCaptureFixture) -> None:
    rights = ["operators={bindings: [{user: root, roles: [administrator]}]}", "listen.admin=unix:/x"]
    having, fewer = (
        load(sets=["upstreams=[127.0.0.1:1]", *rights, *sets], environ={}) for sets in (["approvals={}"], [])
    )
    pool: Any = Pool()
    promoter: Any = SimpleNamespace(note=lambda *_, **__: None, settle=lambda: None, expect=lambda *_: None, shares={})
    notifier: Any = SimpleNamespace(reloading=lambda: None)
    reloader = Reloader(having, lambda: fewer, lambda: pool, promoter, notifier, done=lambda said: None)
    asyncio.run(reloader.reload())
    (line,) = [each for each in caplog.records if "who may do what has changed: approvals" in each.getMessage()]
    assert line.levelname == "WARNING"
    assert reloader.config.approvals is None


def test_a_reload_reads_once_so_that_rules_and_models_are_of_one_file() -> None:
    pool: Any = Pool()
    promoter: Any = SimpleNamespace(
        note=lambda *what, **how: None, expect=lambda *what: None, settle=lambda: None, shares={}
    )
    notifier: Any = SimpleNamespace(reloading=lambda: None)
    texts = [["upstreams=[127.0.0.1:1]", "limits.total.rate=5/s"], ["nothing=1"]]

    async def run() -> None:
        before = load(sets=["upstreams=[127.0.0.1:1]"], environ={})
        reloader = Reloader(
            before,
            lambda: load(sets=texts.pop(0), environ={}),
            lambda: pool,
            promoter,
            notifier,
            done=lambda said: None,
        )
        assert not (await reloader.reload("an operator")).problems
        assert len(texts) == 1
        assert (await reloader.reload("an operator")).problems

    asyncio.run(run())
