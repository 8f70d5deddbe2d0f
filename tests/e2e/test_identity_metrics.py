"""Identities that the configuration names have metrics of their own, and no other has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from modelward.score import Profile
from tests import models
from tests.commands import modelward
from tests.e2e.messages import Stub, refused, request
from tests.support import ServerProcess, serve_process

ROW = np.zeros((1, 4), np.float32)
STRANGE = np.full((1, 4), 50, np.float32)
NAMES = ("team-a", "team-b", "team-c")
ADDED = 40  # samples: enough that chance does not halve or double them


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    file = tmp_path_factory.mktemp("keys") / "keys.json"
    return {name: modelward("token", "add", name, "--file", file).stdout.strip() for name in NAMES} | {"": str(file)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, keys: dict[str, str]) -> Iterator[ServerProcess]:
    root: Path = tmp_path_factory.mktemp("identities") / "models"
    models.repository(root, dict.fromkeys(("add", "limited", "other"), models.add_one()))
    training = np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)
    Profile.fit({"x": training}).save(root / "add" / "1" / "profile.npz")
    rules = "[{identity: '*', models: [add, limited]}]"
    sets = (
        "workers=2",
        f"access={{keys: {keys['']}, rules: {rules}}}",
        "metrics.identities=[team-a, team-b]",
        "models.limited.limit={rate: 1/h, burst: 3}",
        f"state={root.parent / 'state'}",
    )
    with serve_process(root, *(word for each in sets for word in ("--set", each))) as server:
        yield server


def counted(server: ServerProcess, what: str, identity: str, **labels: str) -> float:
    return server.metric(f"modelward_identity_{what}_total", identity=identity, **labels)


def test_what_is_refused_denied_and_anomalous_is_counted_for_whom_it_was(
    server: ServerProcess, keys: dict[str, str]
) -> None:
    with Stub(server.grpc) as stub:
        a, c = ((("x-api-key", keys[name]),) for name in ("team-a", "team-c"))
        for metadata in (a, c):
            stub.infer(request("add", {"x": STRANGE}), metadata=metadata)
            assert refused(stub, request("other", {"x": ROW}), metadata=metadata).reason == "PERMISSION_DENIED"
        for _ in range(3):
            stub.infer(request("limited", {"x": ROW}), metadata=a)
        for _ in range(4):
            assert refused(stub, request("limited", {"x": ROW}), metadata=a).reason == "MODEL_LIMIT"
    assert counted(server, "refusals", "team-a", limit="model") == 4
    assert counted(server, "denied", "team-a") == 1
    assert counted(server, "anomalies", "team-a") == 1
    for what in ("refusals", "denied", "anomalies", "requests", "backend_seconds"):
        assert counted(server, what, "team-b") == 0
    page = server.page("/metrics")[1]
    assert 'identity="team-b"' in page, "it has series before it was seen"
    assert 'identity="team-c"' not in page, "the configuration does not name it"


def test_requests_are_estimated(server: ServerProcess, keys: dict[str, str]) -> None:
    before = counted(server, "requests", "team-b")
    with Stub(server.grpc) as stub:
        for _ in range(64 * ADDED):
            stub.infer(request("add", {"x": ROW}), metadata=(("x-api-key", keys["team-b"]),))
    estimated = counted(server, "requests", "team-b") - before
    assert 64 * ADDED / 2 < estimated < 64 * ADDED * 2
