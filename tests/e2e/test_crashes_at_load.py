"""Workers that die when they load a model or run its canary: it is refused, other models are served."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from modelward.cli.app import main
from tests import models
from tests.commands import modelward
from tests.e2e.messages import Array, Refusal, Stub
from tests.e2e.test_crashes import ROW, ask, dividing, serving
from tests.e2e.test_reload import put
from tests.support import ServerProcess, wait_until

SMALLEST = np.iinfo(np.int64).min
REASON = "a worker died when it loaded the model or ran its canary"


def deadly() -> bytes:
    """x INT64 [1] -> y = the smallest number / (0 x - 1): the processor traps whatever x is."""
    constants = {"zero": 0, "one": 1, "smallest": SMALLEST}
    node, function = models.trapping("smallest", "minus", "y")
    made = models.model(
        [
            helper.make_node("Mul", ["x", "zero"], ["nothing"]),
            helper.make_node("Sub", ["nothing", "one"], ["minus"]),
            node,
        ],
        [models.tensor("x", TensorProto.INT64, [1])],
        [models.tensor("y", TensorProto.INT64, [1])],
        [numpy_helper.from_array(np.array([value], np.int64), name) for name, value in constants.items()],
        domains=[("test", 1)],
    )
    made.functions.append(function)
    return made.SerializeToString()


def canary(folder: Path, inputs: dict[str, Array]) -> None:
    draft = folder.parent.parent.parent / f"{folder.parent.name}.npz"
    arrays = {f"input:{name}": array for name, array in inputs.items()}
    np.savez(draft, **arrays, **{"output:y": -inputs["a"]})
    os.replace(draft, folder / "canary.npz")


def refused(server: ServerProcess, model: str) -> bool:
    """By whichever worker is asked, with the reason."""
    found = [ask(server, model, dividing(1, deadly=False)) for _ in range(8)]
    with Stub(server.grpc) as stub:
        (entry,) = [entry for entry in stub.ask("RepositoryIndex").models if entry.name == model]
    unknown = all(isinstance(each, Refusal) and each.reason == "UNKNOWN_MODEL" for each in found)
    return unknown and REASON in entry.reason


def is_served(server: ServerProcess) -> bool:
    return all(isinstance(ask(server, "add", {"x": ROW}), dict) for _ in range(8))


def test_a_start_refuses_models_that_workers_die_of_and_serves_the_others(tmp_path: Path) -> None:
    root = models.repository(tmp_path / "models", {"warm": deadly(), "bad": models.dividing()})
    canary(root / "bad/1", dividing(3, deadly=True))
    with serving(tmp_path, 2) as server:
        assert refused(server, "warm") and refused(server, "bad") and is_served(server)
        assert isinstance(ask(server, "div", dividing(3, deadly=False)), dict)
        assert server.metric("modelward_models_refused") == 2
        for model in ("warm", "bad"):
            assert server.metric("modelward_crashes_total", model=model, version="1") >= 1
            assert sum(f"a worker died when it loaded model {model} version 1" in line for line in server.output) == 1
        died = server.metric("modelward_worker_restarts_total", reason="died")

        # workers that start later know it, and the same model is loaded with another canary
        canary(root / "bad/1", dividing(3, deadly=False))
        before = server.workers()
        assert main(["restart", "--admin", server.admin]) == 0
        wait_until(lambda: not set(server.workers()) & set(before), "the end of the workers before")
        assert refused(server, "warm") and is_served(server)
        assert isinstance(ask(server, "bad", dividing(3, deadly=False)), dict)
        assert server.metric("modelward_worker_restarts_total", reason="died") == died


def test_a_reload_that_a_worker_dies_of_refuses_the_model_and_does_all_else(tmp_path: Path) -> None:
    with serving(tmp_path, 2) as server:
        put(tmp_path / "models", "bad", 1, deadly())
        put(tmp_path / "models", "good", 1, models.add_one())
        main(["reload", "--admin", server.admin])
        assert refused(server, "bad")
        assert all(isinstance(ask(server, "good", {"x": ROW}), dict) for _ in range(8))
        assert is_served(server)
        assert server.metric("modelward_worker_restarts_total", reason="died") == 1
        assert server.metric("modelward_workers") == 2

        # a pardon and a reload try it again, and nothing is lost but the worker that does
        assert main(["pardon", "bad", "--admin", server.admin]) == 0
        main(["reload", "--admin", server.admin])
        assert refused(server, "bad") and is_served(server)
        assert server.metric("modelward_worker_restarts_total", reason="died") == 2


def test_a_canary_that_a_served_version_dies_of_takes_it_out_of_service(tmp_path: Path) -> None:
    root = models.repository(tmp_path / "models", {"kept": models.dividing()})
    canary(root / "kept/1", dividing(3, deadly=False))
    with serving(tmp_path, 1, "models.kept.canary.interval=1s") as server:
        assert isinstance(ask(server, "kept", dividing(3, deadly=False)), dict)
        canary(root / "kept/1", dividing(3, deadly=True))
        main(["reload", "--admin", server.admin])
        wait_until(lambda: server.metric("modelward_worker_restarts_total", reason="died") == 1, "the death")
        wait_until(lambda: server.metric("modelward_workers") == 1, "another worker")
        assert refused(server, "kept") and is_served(server)
        assert server.metric("modelward_worker_restarts_total", reason="died") == 1


def test_check_outlives_models_that_serve_refuses(tmp_path: Path) -> None:
    contents = {
        "warm": deadly(),
        "bad": models.dividing(),
        "endless": models.slow_loop(2**62),
        "good": models.add_one(),
    }
    root = models.repository(tmp_path / "models", contents)
    canary(root / "bad/1", dividing(3, deadly=True))
    check = modelward("check", root, "--json", "--set", "load_timeout=5s", "--set", f"state={tmp_path / 'state'}")
    assert check.returncode == 3, check.stderr
    told = json.loads(check.stdout)
    assert [model["name"] for model in told["models"]] == ["good"]
    problems = [problem for each in told["refused"] for problem in each["problems"]]
    whats = {Path(problem["where"]).parts[-3]: (problem["what"], problem["why"]) for problem in problems}
    died = ("ONNX Runtime does not survive the model or its canary, and serve refuses it", "it was killed by SIGFPE")
    assert whats == {
        "warm": died,
        "bad": died,
        "endless": ("the model takes too long to load", "it took longer than 5 s"),
    }
    named = [note for note in told["notes"] if note["what"] == "values of its inputs can end a worker"]
    assert {Path(note["where"]).parts[-3] for note in named} == {"warm", "bad"}
    assert all("(Div): " in note["why"] for note in named)
