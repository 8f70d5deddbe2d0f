"""The trail in a real PostgreSQL, which is killed and comes back, or cannot be had at all."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from modelward.audit.opening import open_reader, open_trail
from modelward.audit.record import Actor, automatic, human
from modelward.audit.recorder import NotRecorded
from modelward.audit.verify import verify
from modelward.config.audit import Audit
from modelward.config.schema import Config
from modelward.problem import ProblemsFound
from tests import postgres

ALICE = Actor(name="alice", proof="certificate")


def config_of(url: str, folder: Path) -> Config:
    audit = {"folder": str(folder), "name": "here", "postgres": {"url": url, "timeout": "2s"}}
    return Config.model_validate({"audit": audit})


def records(settings: Audit) -> list[dict[str, Any]]:
    reader, verifier = open_reader(settings, None)
    found = verify(reader, verifier)
    assert found.findings == ()
    return [json.loads(each) for each in reader.records(0, found.records)]


def test_while_the_database_is_away_people_are_refused_and_what_the_server_does_is_recorded_later(
    tmp_path: Path,
) -> None:
    async def run(server: postgres.Server, config: Config) -> None:
        assert config.audit is not None
        trail = open_trail(config.audit, config)
        await trail.start()
        try:
            assert await trail.confirm(human("promote", ALICE, result="asked", model="first")) == 0
            server.kill()
            with pytest.raises(NotRecorded):
                await trail.confirm(human("promote", ALICE, result="asked", model="refused"))
            for i in range(3):
                trail.note(automatic("worker.died", object=str(i)))
            server.start()
            async with asyncio.timeout(30):
                while trail.stats().waiting or not trail.stats().up:
                    await asyncio.sleep(0.01)
            await trail.confirm(human("promote", ALICE, result="asked", model="again"))
        finally:
            await trail.stop()

    with postgres.running() as server:
        config = config_of(server.url(), tmp_path)
        asyncio.run(run(server, config))
        assert config.audit is not None
        found = records(config.audit)
        promoted = [each["model"] for each in found if each["verb"] == "promote"]
        assert [each["object"] for each in found if each["verb"] == "worker.died"] == ["0", "1", "2"]
        assert (promoted[0], promoted[-1]) == ("first", "again")
        # what was given up is either not there, or is told to have been refused
        given_up = [each for each in found if each.get("model") == "refused"]
        assert [each["result"] for each in given_up][-1:] in ([], ["refused"])


def test_without_the_driver_nothing_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    config = config_of("postgresql:///audit", tmp_path)
    assert config.audit is not None
    with pytest.raises(ProblemsFound, match=r"pip install 'modelward\[postgres\]'"):
        open_trail(config.audit, config)
