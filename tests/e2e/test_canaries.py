"""Canaries of versions that are served: what a worker has in memory is damaged for real, and mended again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import numpy.typing as npt
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests import models
from tests.commands import modelward
from tests.e2e.messages import Stub, arrays, parameters, refused, request
from tests.e2e.test_admin import told
from tests.memory import overwrite
from tests.support import ServerProcess, reloadable, serve_process, wait_until

COLUMNS = 64
X = np.ones((1, COLUMNS), np.float32)
OFTEN = "models.m.canary.interval=100ms"
ROLLBACK_SECONDS = 30.0

Weights = npt.NDArray[np.float32]


def weights(version: int) -> Weights:
    """That occur nowhere else."""
    return np.random.default_rng(version).normal(size=COLUMNS).astype(np.float32)


def adding(version: int) -> bytes:
    """x FP32 [batch, 64] -> y = x + the version's weights."""
    floats = [models.tensor(name, TensorProto.FLOAT, ["batch", COLUMNS]) for name in "xy"]
    return models.model(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        floats[:1],
        floats[1:],
        [numpy_helper.from_array(weights(version), "w")],
    ).SerializeToString()


def write_canary(root: Path, version: int, shift: float = 0.0) -> None:
    expected = X + weights(version) + np.float32(shift)
    np.savez(root / "m" / str(version) / "canary.npz", **{"input:x": X, "output:y": expected})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Model m of two versions that have canaries."""
    root = models.repository(tmp_path / "models", {"m": {1: adding(1), 2: adding(2)}})
    for version in (1, 2):
        write_canary(root, version)
    return root


def damage(pid: int, version: int, *, mend: bool = False) -> None:
    """X + weights is the canary's and the answers': what stands for damage must not be that."""
    good, bad = weights(version).tobytes(), (weights(version) + 3).tobytes()
    assert overwrite(pid, bad if mend else good, good if mend else bad) > 0


def wait_for_failing(server: ServerProcess, count: int, **labels: str) -> None:
    wait_until(lambda: server.metric("modelward_canary_failing", **labels) == count, f"{count} failing {labels}")


def answered(stub: Stub, version: str = "", count: int = 50) -> Counter[str]:
    """Requests by the version that answered, each of which must be what that version's file says."""
    found: Counter[str] = Counter()
    for _ in range(count):
        answer = stub.infer(request("m", {"x": X}, version=version))
        np.testing.assert_allclose(arrays(answer)["y"], X + weights(int(answer.model_version)), rtol=1e-5)
        found[answer.model_version] += 1
    return found


@pytest.fixture
def single(root: Path, tmp_path: Path) -> Iterator[tuple[ServerProcess, int]]:
    """A server of one worker, and that worker's process."""
    sets = ('models.m.versions={"1": 1, "2": 1}', OFTEN, f"state={tmp_path / 'state'}")
    with serve_process(root, *(word for each in sets for word in ("--set", each))) as server:
        (worker,) = server.workers()
        yield server, worker


def test_a_version_that_is_damaged_in_memory_goes_out_of_service_and_comes_back(
    single: tuple[ServerProcess, int],
) -> None:
    server, worker = single
    with Stub(server.grpc) as stub:
        assert answered(stub).keys() == {"1", "2"}
        wait_until(lambda: server.metric("modelward_canary_runs_total", version="2", result="passed") >= 3, "runs")
        damage(worker, 2)
        wait_for_failing(server, 1, version="2")
        assert answered(stub) == {"1": 50}, "the other version has its share"
        found = refused(stub, request("m", {"x": X}, version="2"))
        assert (found.code, found.reason) == (grpc.StatusCode.UNAVAILABLE, "CANARY")
        for version, ready in (("1", True), ("2", False), ("", True)):
            assert stub.ask("ModelReady", name="m", version=version).ready is ready
        assert stub.ask("ServerReady").ready
        index = {each.version: (each.state, each.reason) for each in stub.ask("RepositoryIndex").models}
        assert index["1"] == ("READY", "")
        assert index["2"][0] == "UNAVAILABLE"
        assert "/" not in index["2"][1]
        assert [each["failing_canary"] for each in told(server, "status")["models"]] == [0, 1]
        assert "m version 2 fails its canary in 1 worker\n" in modelward("status", "--admin", server.admin).stdout
        assert server.page("/readyz") == (200, "ready\nm version 2: fails its canary, in 1 of the workers\n")
        damage(worker, 1)
        wait_for_failing(server, 1, version="1")
        assert refused(stub, request("m", {"x": X})).reason == "CANARY", "there is no other version"
        assert not stub.ask("ModelReady", name="m").ready
        for number in (1, 2):
            damage(worker, number, mend=True)
        wait_for_failing(server, 0)
        assert server.page("/readyz") == (200, "ready\n")
        wait_until(lambda: answered(stub).keys() == {"1", "2"}, "both versions")
        assert answered(stub, "2") == {"2": 50}
    assert server.metric("modelward_canary_runs_total", version="2", result="failed") >= 1
    wait_until(lambda: "version 2 passes its canary again and is back" in "".join(server.output), "the log")
    text = "".join(server.output)
    (line,) = [line for line in text.splitlines() if "model m version 2 fails its canary" in line]
    assert " ERROR " in line
    assert "canary.npz" in line
    assert "output 'y': 64 of 64 values differ" in line
    assert "modelward restart" in line


def test_a_fallback_chain_answers_in_the_place_of_a_version_that_is_damaged(root: Path, tmp_path: Path) -> None:
    fallbacks = f"models.m.fallback=[{{value: {{y: [{[0] * COLUMNS}]}}}}]"
    with (
        serve_process(root, "--set", fallbacks, "--set", OFTEN, "--set", f"state={tmp_path / 'state'}") as server,
        Stub(server.grpc) as stub,
    ):
        (worker,) = server.workers()
        assert answered(stub) == {"2": 50}
        damage(worker, 2)
        wait_for_failing(server, 1, version="2")
        for version in ("", "2"):
            answer = stub.infer(request("m", {"x": X}, version=version))
            assert parameters(answer) == {"modelward_fallback": "canary", "modelward_fallback_source": "value"}
        assert answered(stub, "1") == {"1": 50}
        damage(worker, 2, mend=True)
        wait_for_failing(server, 0)
        assert answered(stub) == {"2": 50}


@pytest.mark.parametrize("chain", [False, True], ids=["without a chain", "with one"])
def test_a_promotion_towards_a_version_that_is_damaged_in_one_worker_is_taken_back(
    root: Path, tmp_path: Path, *, chain: bool
) -> None:
    sets = ["workers=2", 'models.m.versions={"1": 1}', OFTEN, f"state={tmp_path / 'state'}"]
    if chain:
        sets.append(f"models.m.fallback=[{{value: {{y: [{[0] * COLUMNS}]}}}}]")
    with serve_process(root, *(word for each in sets for word in ("--set", each))) as server:
        promoted = modelward("promote", "m", "2", "--steps", "50,100", "--force", "--reason", "a test",
                             "--admin", server.admin)  # fmt: skip
        assert promoted.returncode == 0
        damage(server.workers()[0], 2)

        def taken_back() -> bool:
            (promotion,) = told(server, "status")["promotions"]
            return bool(promotion["phase"] == "rolled back") and "canary" in promotion["why"]

        wait_until(taken_back, "the rollback", ROLLBACK_SECONDS)
        assert server.metric("modelward_promotions_total", outcome="rolled_back", reason="canary") == 1
        with Stub(server.grpc) as stub:
            assert answered(stub) == {"1": 50}


def test_a_reload_runs_another_canary_soon_and_without_one_nothing_is_out_of_service(
    tmp_path: Path, root: Path
) -> None:
    with reloadable(tmp_path / "models", {}, models__m__canary__interval="1h") as server, Stub(server.grpc) as stub:
        failing = lambda: server.metric("modelward_canary_failing", version="2")  # noqa: E731
        for mend in ("another canary", "none", "off"):
            write_canary(root, 2, shift=1)
            server.reload(models__m__canary__interval="1h")
            wait_until(lambda: failing() == 1, "the other canary")
            wait_until(lambda: answered(stub) == {"1": 50}, "the other version")
            if mend == "another canary":
                write_canary(root, 2)
                server.reload()
            elif mend == "none":
                (root / "m/2/canary.npz").unlink()
                server.reload()
            else:
                server.reload(models__m__canary__interval="off")
            wait_until(lambda: failing() == 0, mend)
            wait_until(lambda: answered(stub) == {"2": 50}, mend)


def test_what_a_version_answered_before_it_failed_is_no_last_good_answer(tmp_path: Path, root: Path) -> None:
    fallbacks = f"[{{last_good: {{}}}}, {{value: {{y: [{[0] * COLUMNS}]}}}}]"
    sets = {"models__m__fallback": fallbacks, "models__m__canary__interval": "1h"}
    with reloadable(tmp_path / "models", {}, **sets) as server, Stub(server.grpc) as stub:
        assert answered(stub) == {"2": 50}
        write_canary(root, 2, shift=1)
        server.reload()
        wait_until(lambda: server.metric("modelward_canary_failing", version="2") == 1, "the other canary")
        told = parameters(stub.infer(request("m", {"x": X})))
        assert told == {"modelward_fallback": "canary", "modelward_fallback_source": "value"}


def test_a_version_that_fails_and_is_gone_counts_no_more(tmp_path: Path, root: Path) -> None:
    with reloadable(tmp_path / "models", {}, models__m__canary__interval="1h") as server:
        write_canary(root, 2, shift=1)
        server.reload()
        wait_until(lambda: server.metric("modelward_canary_failing", version="2") == 1, "the other canary")
        (root / "m/2/model.onnx").write_bytes(adding(3))
        np.savez(root / "m/2/canary.npz", **{"input:x": X, "output:y": X + weights(3)})
        server.reload()
        wait_until(lambda: server.metric("modelward_canary_failing", version="2") == 0, "the engine to be closed")
