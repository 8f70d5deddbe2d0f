"""Sealed versions on a real server: what lies on disk, in core files and in environments, and what bad ones get."""

from __future__ import annotations

import os
import resource
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelward.problem import ProblemsFound
from tests import models
from tests.e2e.messages import Stub, arrays, request
from tests.proxy.sealing.support import new_key, sealed
from tests.support import ServerProcess, reloadable, serve_process, wait_until

COLUMNS = 64
X = np.ones((1, COLUMNS), np.float32)
KEY, RECIPIENT = new_key()


def weights(version: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """That occur nowhere else."""
    return np.random.default_rng(1000 + version).normal(size=COLUMNS).astype(np.float32)


def adding(version: int) -> bytes:
    """x FP32 [batch, 64] -> y = x + the version's weights."""
    floats = [models.tensor(name, TensorProto.FLOAT, ["batch", COLUMNS]) for name in "xy"]
    return models.model(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        floats[:1],
        floats[1:],
        [numpy_helper.from_array(weights(version), "w")],
    ).SerializeToString()


def answer(server: ServerProcess, version: str = "") -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    with Stub(server.grpc) as stub:
        return arrays(stub.infer(request("m", {"x": X}, version=version)))["y"]


def holders(folder: Path, wanted: bytes) -> list[Path]:
    """Files below the folder that hold these bytes."""
    files = [file for file in folder.rglob("*") if file.is_file() and not file.is_symlink()]
    return [file for file in files if wanted in file.read_bytes()]


def environment_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("state", "temporary", "working"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


def serve(place: Path, *arguments: str, **environment: str) -> Iterator[ServerProcess]:
    """With core files as large as they get, in `working`."""
    launcher = ("sh", "-c", f'ulimit -c unlimited; cd {place / "working"}; exec "$@"', "sh")
    settings = ["--set", f"state={place / 'state'}", *arguments]
    variables = {"TMPDIR": str(place / "temporary"), **environment}
    with serve_process(str(place / "models"), *settings, launcher=launcher, environment=variables) as server:
        yield server


def abort_a_worker(server: ServerProcess) -> None:
    before = server.workers()
    os.kill(before[0], signal.SIGABRT)
    wait_until(lambda: server.workers() not in ([], before), "another worker")
    wait_until(lambda: server.page("/readyz")[0] == 200, "it to be ready")


def test_a_requirement_that_would_end_the_service_of_a_version_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelward.sealing.process.seclude", lambda: None)  # of the process that all tests share
    (tmp_path / "key").write_text(f"{KEY}\n")
    keys = f"[{{file: {tmp_path / 'key'}}}]"
    both = {"m": adding(1), "other": sealed(adding(2), RECIPIENT)}
    with reloadable(tmp_path / "models", both, sealing__identities=keys) as server:
        with pytest.raises(ProblemsFound) as found:
            server.reload(sealing__require='["*"]')
        (problem,) = found.value.problems
        assert (problem.what, problem.where) == (
            "it is served, and sealing.require would end that",
            "model m version 1",
        )
        assert len(server.application.models) == 2
        assert "sealing.require" in "".join(server.reload(sealing__require="[other]"))


def test_plaintext_and_key_lie_nowhere_and_what_cannot_be_opened_is_refused(place: Path) -> None:
    other, _ = new_key()
    secret, data = weights(1).tobytes(), sealed(adding(1), RECIPIENT)
    bad = {1: data[:-1], 2: sealed(adding(3), new_key()[1]), 3: adding(4)}
    models.repository(place / "models", {"m": data, "bad": bad})
    np.savez(place / "canary.npz", **{"input:x": X, "output:y": X + weights(1)})
    canary = place / "models/m/1/canary.npz"
    canary.write_bytes(sealed((place / "canary.npz").read_bytes(), RECIPIENT))
    (place / "canary.npz").unlink()
    (place / "key").write_text(f"{other}\n")
    settings = f"sealing={{identities: [{{file: {place / 'key'}}}, {{environment: MODEL_KEY}}], require: ['*']}}"
    for server in serve(place, "--set", settings, "--set", "audit={}", MODEL_KEY=KEY):
        np.testing.assert_allclose(answer(server), X + weights(1))
        said = "".join(server.output)
        assert f"opened with {RECIPIENT}" in said
        for words in ("the sealed file cannot be opened", "the file is sealed for another key", "is not sealed"):
            assert words in said
        assert "Traceback" not in said
        wait_until(lambda: holders(place / "state", b'"version.unsealed"'), "a record of who opened it")
        assert holders(place / "state", RECIPIENT.encode())

        abort_a_worker(server)  # the next one opens it too, with the key from the supervisor
        np.testing.assert_allclose(answer(server), X + weights(1))
        for pid in (server.process.pid, *server.workers()):
            assert b"TMPDIR=" in environment_of(pid)
            assert KEY.encode() not in environment_of(pid)
        assert KEY not in "".join(server.output)
        assert not holders(place, secret)
        assert not holders(Path("/dev/shm"), secret)
    assert not list((place / "working").iterdir())

    # what is not sealed is found by the same search
    if resource.getrlimit(resource.RLIMIT_CORE)[1] != resource.RLIM_INFINITY:
        pytest.skip("core files are limited here: that none is left shows nothing")
    shutil.rmtree(place / "models/bad")
    canary.unlink()
    models.repository(place / "models", {"m": adding(1)})
    for server in serve(place, MODEL_KEY=KEY):
        assert KEY.encode() in environment_of(server.process.pid)
        abort_a_worker(server)
    cores = holders(place / "working", secret)
    if not cores:
        pytest.skip("this machine writes no core files here: that none is left shows nothing")
    for core in cores:
        core.unlink()
    assert holders(place, secret) == [place / "models/m/1/model.onnx"]
