"""Limits that an operator sets on a running server for a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from tests import models
from tests.commands import modelward
from tests.e2e.messages import Stub, request
from tests.e2e.test_operators import told
from tests.support import ServerProcess, serve_process, wait_until

ROW = np.zeros((1, 4), np.float32)


def answered(server: ServerProcess, model: str, calls: int, key: str | None = None) -> int:
    """How many of so many requests, each on a connection of its own: workers take turns."""
    count = 0
    for _ in range(calls):
        with Stub(server.grpc) as stub:
            try:
                stub.infer(request(model, {"x": ROW}), metadata=(("x-api-key", key),) if key else None)
                count += 1
            except grpc.RpcError as error:
                assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    return count


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A key of each identity, and the file that the server knows them by."""
    keys = tmp_path_factory.mktemp("keys") / "keys.json"
    names = ("team-a", "team-b")
    return {name: modelward("token", "add", name, "--file", keys).stdout.strip() for name in names} | {"": str(keys)}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("limits") / "models"
    return models.repository(root, {name: {1: models.add_one()} for name in ("add", "other")})


@pytest.fixture(scope="module")
def server(root: Path, secrets: dict[str, str]) -> Iterator[ServerProcess]:
    """Without operators and a trail. Callers without a key may ask too."""
    rules = "[{identity: '*', by: key, models: ['*']}, {anonymous: true, models: ['*']}]"
    state = root.parent / "state"
    sets = ("workers=2", f"access={{keys: {secrets['']}, rules: {rules}}}", f"state={state}")
    with serve_process(root, *(word for each in sets for word in ("--set", each))) as server:
        yield server
    assert not (state / "audit").exists()


def test_a_model_is_limited_over_all_workers_through_reloads_and_restarts_until_it_is_unset(
    server: ServerProcess, root: Path
) -> None:
    at = ("--admin", server.admin)
    modelward("limit", "unset", "model", "add", *at)  # where it is run a second time
    assert answered(server, "add", 8) == 8
    set_ = modelward("limit", "set", "model", "add", "--rate", "1/h", "--burst", "3", "--reason", "a flood", *at)
    assert (set_.returncode, "model add: 1/h, burst 3 until" in set_.stdout) == (0, True)
    assert answered(server, "add", 8) == 3
    assert answered(server, "other", 4) == 4
    (listed,) = told("limit", "list", *at)
    assert (listed["kind"], listed["name"], listed["reason"]) == ("model", "add", "a flood")
    assert "temporary limits" in modelward("status", *at).stdout
    models.repository(root, {"new": {1: models.add_one()}})
    assert modelward("reload", *at).returncode == 0
    assert modelward("restart", *at).returncode == 0
    assert answered(server, "add", 4) == 0
    unknown = modelward("limit", "set", "model", "ad", "--rate", "1/h", *at)
    assert (unknown.returncode, "Did you mean add?" in unknown.stderr) == (1, True)
    assert modelward("limit", "unset", "model", "add", *at).returncode == 0
    assert answered(server, "add", 8) == 8
    assert modelward("limit", "unset", "model", "add", *at).returncode == 1
    assert told("limit", "list", *at) == []


def test_an_identity_is_limited_until_the_time_is_over(server: ServerProcess, secrets: dict[str, str]) -> None:
    at = ("--admin", server.admin)
    limit = ("limit", "set", "identity", "team-a", "--rate", "1/h", "--burst", "2", *at)
    assert modelward(*limit, "--for", "10m").returncode == 0
    assert answered(server, "add", 5, secrets["team-a"]) == 2
    assert answered(server, "add", 5, secrets["team-b"]) == 5
    assert modelward(*limit, "--for", "500ms").returncode == 0
    wait_until(lambda: answered(server, "add", 1, secrets["team-a"]), "the end of the limit")
    assert told("limit", "list", *at) == []
    assert any("has its configured limit again: the time is over" in line for line in server.output)


def test_without_a_trail_operators_act_and_ready_says_that_nothing_is_recorded(server: ServerProcess) -> None:
    assert any(each.startswith("audit ") and "is not recorded" in each for each in server.output)
    assert modelward("reload", "--admin", server.admin).returncode == 0
    assert server.metric("modelward_audit_up") == 0
