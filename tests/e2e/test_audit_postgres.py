"""The audit trail of a real server in a real PostgreSQL, which is killed, frozen and comes back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import models, postgres
from tests.commands import modelward
from tests.e2e.test_promotion import ANY_LATENCY, REASON, answers, promotion
from tests.support import ServerProcess, serve_process, wait_until


@pytest.fixture
def database() -> Iterator[postgres.Server]:
    with postgres.running() as server:
        yield server


def written(root: Path, database: postgres.Server) -> Path:
    """A configuration file."""
    repository = models.repository(root / "models", {"add": {1: models.add_one(), 2: models.add_one()}})
    config = {
        "repository": str(repository),
        "state": str(root / "state"),
        "audit": {"postgres": {"url": database.url(), "timeout": "1s"}},
    }
    file = root / "modelward.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


def records(config: Path) -> list[dict[str, Any]]:
    ended = modelward("audit", "query", "--json", "--config", config)
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def refused(server: ServerProcess) -> str:
    ended = modelward("promote", "add", "2", *REASON, "--admin", server.admin)
    assert ended.returncode == 1
    assert "what is not recorded is not done" in ended.stderr
    assert promotion(server)["percent"] == 20
    assert answers(server, 20), "requests are answered meanwhile"
    return ended.stderr


def test_people_wait_for_the_database_and_nothing_else_does(tmp_path: Path, database: postgres.Server) -> None:
    config = written(tmp_path, database)
    sets = ("--set", 'models.add.versions={"1": 1}', "--set", ANY_LATENCY)
    with serve_process("--config", config, *sets) as server:
        assert any(each.startswith("audit    postgresql://") for each in server.output)
        began = modelward("promote", "add", "2", "--steps", "20,100", *REASON, "--admin", server.admin)
        assert began.returncode == 0, began.stderr
        before = records(config)
        database.freeze()
        assert "postgres" in refused(server)
        database.thaw()
        wait_until(lambda: server.metric("modelward_audit_waiting") == 0, "what was refused is recorded")
        assert server.metric("modelward_audit_up") == 1
        database.kill()
        assert "postgres" in refused(server)
        assert server.metric("modelward_audit_up") == 0
        ended = modelward("audit", "tail", "--config", config)
        assert ended.returncode == 1
        assert "the log cannot be read" in ended.stderr
        database.start()
        wait_until(lambda: server.metric("modelward_audit_up") == 1, "the trail is written again")
        wait_until(lambda: server.metric("modelward_audit_waiting") == 0, "all of it")
        done = modelward("rollback", "add", "--reason", "it is back", "--admin", server.admin)
        assert done.returncode == 0, done.stderr
        assert server.terminate() == 0
    found = records(config)
    assert found[: len(before)] == before, "nothing that was confirmed is lost"
    later = [(r["verb"], r["result"]) for r in found[len(before) :] if r["kind"] == "human"]
    assert sorted(later) == [
        *[("force", "asked")] * 2,
        *[("force", "refused")] * 2,
        ("rollback", "asked"),
        ("rollback", "done"),
    ]
    assert [r["n"] for r in found] == [*range(len(found))]
    verified = modelward("audit", "verify", "--config", config)
    assert verified.returncode == 0, verified.stderr
    assert f"whole: {len(found)} records" in verified.stdout
    proven = modelward("audit", "prove", "0", "--config", config)
    assert proven.stdout.startswith("c2sp.org/tlog-proof@v1\nindex 0\n")
