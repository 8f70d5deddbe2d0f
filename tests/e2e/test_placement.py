"""A model whose time depends on what it is asked delays no other request, whether that was foreseen or not."""

from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton

from modelward.config.schema import Config
from modelward.models import model_file
from modelward.server.embedded import in_thread
from tests.models import loop_of_steps

STEPS = 3_000_000  # seconds of work, a few microseconds a step


def _config(folder: Path) -> Config:
    (folder / "steps.onnx").write_bytes(loop_of_steps())
    value = {"y": [[0.0, 0.0, 0.0, 0.0]]}
    return Config.model_validate(
        {
            "listen": {"grpc": "127.0.0.1:0", "http": "127.0.0.1:0"},
            "repository": folder / "steps.onnx",
            "models": {"steps": {"deadline": "200ms", "fallback": [{"value": value}]}},
        }
    )


def _ask(client: triton.InferenceServerClient, steps: int) -> dict[str, str]:
    x = triton.InferInput("x", [1, 4], "FP32")
    x.set_data_from_numpy(np.ones((1, 4), np.float32))
    s = triton.InferInput("steps", [1, 1], "INT64")
    s.set_data_from_numpy(np.array([[steps]]))
    parameters = client.infer("steps", [x, s]).get_response().parameters
    return {name: value.string_param for name, value in parameters.items()}


def test_a_model_with_a_loop_runs_in_a_thread_from_its_first_request(tmp_path: Path) -> None:
    with in_thread(_config(tmp_path)) as application:
        engine = application.models[0].engine
        assert engine.predicted_placement() == "thread"
        _ask(triton.InferenceServerClient(str(application.grpc_address)), 1)
        assert engine.thread_runs == 1


def test_a_run_that_surprises_the_loop_is_ended_there_and_starts_anew_in_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_file, "unpredictable", lambda model: "")
    with in_thread(_config(tmp_path)) as application:
        engine = application.models[0].engine
        assert engine.predicted_placement() == "loop"
        client = triton.InferenceServerClient(str(application.grpc_address))
        parameters = _ask(client, STEPS)
        assert parameters["modelward_fallback"] == "deadline"
        assert (engine.terminated, engine.thread_runs, engine.predicted_placement()) == (1, 1, "thread")
        assert _ask(client, 1) == {}
