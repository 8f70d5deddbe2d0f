"""Theft over the wire: callers whose rows are unlike the training data are restricted, others never are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from modelward.score import Profile
from modelward_native.detect.watch import Watcher
from modelward_native.testing.watch import lock_cells
from tests import models
from tests.commands import modelward
from tests.e2e.messages import Array, Stub, arrays, request
from tests.support import EmbeddedServer, serving, wait_until

FEATURES, MODEL = 30, "fraud"
BANKS = tuple(f"bank-{letter}" for letter in "abcdef")
NAMES = ("honest", "thief", "hidden", "sensor", "newcomer", "latecomer", *BANKS)


@pytest.fixture(scope="module")
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def rows(rng: np.random.Generator, count: int) -> Array:
    """Of a few clusters: what the model was trained on."""
    means = np.random.default_rng(1).normal(0, 3, (5, FEATURES))
    return (means[rng.integers(0, 5, count)] + rng.normal(size=(count, FEATURES))).astype(np.float32)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    keys = tmp_path_factory.mktemp("theft") / "keys.json"
    return {name: modelward("token", "add", name, "--file", keys).stdout.strip() for name in NAMES} | {"": str(keys)}


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, rng: np.random.Generator, secrets: dict[str, str]
) -> Iterator[EmbeddedServer]:
    """Which has seen enough of its traffic to judge callers by it."""
    root: Path = tmp_path_factory.mktemp("models")
    folder = root / MODEL / "1"
    folder.mkdir(parents=True)
    Profile.fit({"input": rows(rng, 3000)}).save(folder / "profile.npz")
    settings = {
        "access": f"{{keys: {secrets['']}, rules: [{{identity: '*', by: key, models: ['*'], methods: [infer]}}]}}",
        f"models__{MODEL}__detection": "{mode: act}",
        f"models__{MODEL}__outputs": "{probabilities: {classes: true}}",
        "detection": "{identities: 1024}",
    }
    with serving(root, {MODEL: models.mlp(FEATURES)}, **settings) as running:
        with Stub(running.grpc) as stub:
            for _ in range(130):
                ask(stub, secrets["honest"], rows(rng, 256))
        wait_until(lambda: phase(running) == "filling", "widths are measured")
        yield running


def watcher_of(server: EmbeddedServer) -> Watcher:
    assert server.application.server is not None
    (watcher,) = server.application.server.watchers
    return watcher


def phase(server: EmbeddedServer) -> str:
    return watcher_of(server).phase


def ask(stub: Stub, key: str, asked: Array) -> Array:
    response = stub.infer_call(request(MODEL, {"input": asked}), metadata=(("x-api-key", key),), timeout=10)
    return arrays(response)["probabilities"]


def refused_after(server: EmbeddedServer, key: str, requests: list[Array]) -> int | None:
    """How many of the requests were answered before one was refused."""
    with Stub(server.grpc) as stub:
        for i, asked in enumerate(requests):
            try:
                ask(stub, key, asked)
            except grpc.RpcError as error:
                assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                return i
    return None


def test_a_thief_whose_rows_are_unlike_the_training_data_is_blocked(
    server: EmbeddedServer, rng: np.random.Generator, secrets: dict[str, str]
) -> None:
    queries = [rng.uniform(-6, 6, (1, FEATURES)).astype(np.float32) for _ in range(60)]
    answered = refused_after(server, secrets["thief"], queries)
    assert answered is not None and answered <= 40


def test_rows_of_a_thief_are_not_hidden_in_a_batch(
    server: EmbeddedServer, rng: np.random.Generator, secrets: dict[str, str]
) -> None:
    batches = [rng.uniform(-6, 6, (64, FEATURES)).astype(np.float32) for _ in range(4)]
    assert refused_after(server, secrets["hidden"], batches) == 1


def test_an_honest_caller_is_answered_whatever_others_do(
    server: EmbeddedServer, rng: np.random.Generator, secrets: dict[str, str]
) -> None:
    assert refused_after(server, secrets["honest"], [rows(rng, 256) for _ in range(20)]) is None


def test_exact_repeats_are_no_evidence(
    server: EmbeddedServer, rng: np.random.Generator, secrets: dict[str, str]
) -> None:
    strange = rng.uniform(-6, 6, (1, FEATURES)).astype(np.float32)
    assert refused_after(server, secrets["sensor"], [strange] * 60) is None


def test_a_fault_before_all_callers_restricts_none_of_those_that_have_a_history(
    server: EmbeddedServer, rng: np.random.Generator, secrets: dict[str, str]
) -> None:
    def broken() -> Array:
        found = rows(rng, 64)
        found[::5, 3] = np.nan
        return found

    for bank in BANKS:
        assert refused_after(server, secrets[bank], [rows(rng, 256) for _ in range(3)]) is None
    for _ in range(20):
        for bank in BANKS:
            assert refused_after(server, secrets[bank], [broken()]) is None
    assert refused_after(server, secrets["latecomer"], [broken() for _ in range(20)]) is not None


def test_answers_that_callers_at_no_step_do_not_get_in_locked_cells_are_counted(
    server: EmbeddedServer, rng: np.random.Generator, secrets: dict[str, str]
) -> None:
    name, got = "modelward_detection_withheld_total", {"model": MODEL, "got": "fallback"}
    lock_cells(watcher_of(server), "armed", 6000)
    try:
        before = server.metric(name, **got)
        assert refused_after(server, secrets["newcomer"], [rows(rng, 1)]) == 0  # it has no fallback
        assert server.metric(name, **got) == before + 1
    finally:
        lock_cells(watcher_of(server), "filling", 0)
    assert refused_after(server, secrets["newcomer"], [rows(rng, 1)]) is None
    assert server.metric(name, **got) == before + 1
