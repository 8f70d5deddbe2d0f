"""Drift on a real server: what its clients send changes, and the report, the metrics and the log say so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelward.score import Profile
from tests import models
from tests.commands import modelward
from tests.e2e.messages import Stub, request
from tests.support import ServerProcess, serve_process, wait_until

FEATURES = 4


def options(folder: Path) -> list[str | Path]:
    """Of a server that watches m; all that it keeps is in the folder."""
    root = models.repository(folder / "models", {"m": models.add_one()})
    rows = np.random.default_rng(0).normal(size=(500, FEATURES)).astype(np.float32)
    Profile.fit({"x": rows}).save(root / "m" / "1" / "profile.npz")
    settings = "{share: 1, false_alarms: 1 in 1000 requests}"
    state = folder / "state"
    sets = (f"models.m.drift={settings}", "workers=2", f"state={state}", f"audit.folder={state / 'audit'}")
    return [root, *(word for each in sets for word in ("--set", each))]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve_process(*options(tmp_path_factory.mktemp("drift"))) as running:
        yield running


def report(server: ServerProcess, *more: str) -> tuple[int, dict[str, Any]]:
    ended = modelward("drift", "report", "--model", "m", "--admin", server.admin, "--json", *more)
    return ended.returncode, json.loads(ended.stdout)


def sent(server: ServerProcess, random: np.random.Generator, rows: int, moved: float = 0.0) -> dict[str, Any]:
    """The report, once so many rows are judged in all."""
    with Stub(server.grpc) as stub:

        def found() -> dict[str, Any] | None:
            for _ in range(5):
                values = random.normal(size=(64, FEATURES)).astype(np.float32)
                values[:, 2] += moved
                stub.infer(request("m", {"x": values}))
            told = report(server)[1]["versions"]
            return told[0] if told and told[0].get("outputs", {"rows": 0})["rows"] >= rows else None

        return wait_until(found, f"{rows} rows that are judged for drift")


def test_a_change_of_what_clients_send_is_reported_with_its_features_and_its_beginning(
    server: ServerProcess, tmp_path: Path
) -> None:
    random = np.random.default_rng(1)
    quiet = sent(server, random, rows=1500)
    assert quiet["state"] == "quiet" and report(server)[0] == 0
    assert {each["name"] for each in quiet["inputs"]["profile"]} == {f"x[{i}]" for i in range(FEATURES)}
    told = sent(server, random, rows=quiet["outputs"]["rows"] + 1000, moved=3)
    assert told["state"] == "moved" and told["cause"] == "world"
    moved = {each["name"]: each for each in told["inputs"]["signals"] if each["moved"]}
    assert moved["x[2]"]["after"]["median"] - moved["x[2]"]["before"]["median"] == pytest.approx(3, abs=0.5)
    assert "y[2]" in {each["name"] for each in told["outputs"]["signals"] if each["moved"]}
    assert told["training"]["state"] == "moved"
    farthest = told["inputs"]["profile"][0]
    assert farthest["name"] == "x[2]" and farthest["distance"] > 0.5

    picture = tmp_path / "drift.png"
    ended = modelward("drift", "report", "--admin", server.admin, "--plot", str(picture))
    assert ended.returncode == 1 and "x[2]" in ended.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")
    drawn = modelward("drift", "report", "--admin", server.admin, "--plot", "terminal")
    assert "█" in drawn.stdout and "against the profile: x[2]" in drawn.stdout

    assert server.metric("modelward_drift", model="m", version="1", side="inputs") == 1
    assert server.metric("modelward_drift_alarms_total", model="m", version="1", side="outputs") == 1
    wait_until(lambda: any("inputs have changed since" in line for line in server.output), "a line in the log")
    assert any("drift" in line and "false alarms 1 in 1000 requests" in line for line in server.output)


def test_a_model_that_is_not_watched_is_told_so(server: ServerProcess) -> None:
    ended = modelward("drift", "report", "--model", "other", "--admin", server.admin)
    assert ended.returncode == 1 and "drift is not watched" in ended.stderr


def test_an_operator_takes_the_present_as_usual_and_a_restart_forgets_nothing(tmp_path: Path) -> None:
    words, random = options(tmp_path), np.random.default_rng(1)
    with serve_process(*words) as server:
        quiet = sent(server, random, rows=1100)
        refused = modelward("drift", "accept", "m", "--admin", server.admin)
        assert refused.returncode == 1 and "nothing has changed" in refused.stderr
        told = sent(server, random, rows=quiet["outputs"]["rows"] + 500, moved=3)
        assert told["inputs"]["state"] == "moved"
        accepted = modelward("drift", "accept", "m/1", "--reason", "a new product", "--admin", server.admin)
        assert accepted.returncode == 0 and "model m version 1" in accepted.stdout
        assert "still moved: training, which is compared with the profile" in accepted.stdout
        (before,) = report(server)[1]["versions"]
        assert before["inputs"]["state"] != "moved" != before["outputs"]["state"]
        assert server.metric("modelward_drift", model="m", version="1", side="inputs") == 0
    with serve_process(*words) as server:
        (after,) = report(server)[1]["versions"]
        assert after["training"]["rows"] == before["training"]["rows"] > 1024
        assert after["training"]["state"] == "moved", "its alarm stands"
        assert after["inputs"]["state"] == before["inputs"]["state"]
    trail = modelward("audit", "query", "--state", tmp_path / "state", "--verb", "drift.accept", "--json").stdout
    records = [json.loads(line) for line in trail.splitlines()]
    assert [each["result"] for each in records] == ["asked", "refused", "asked", "done"]
    assert records[-1]["reason"] == "a new product"
