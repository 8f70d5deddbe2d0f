"""A model that cannot keep its deadline on this machine, whatever the machine: measured, then built to last."""

import time
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper, numpy_helper

from modelward.models.runtime import runtime
from modelward_native.backend.engine import Engine

OPSET = 17
IR_VERSION = 8
INPUT = "input"
OUTPUT = "probabilities"
CLASSES = 2
# Long enough to be measured to a few per cent, 10 to 50 ms in all.
PROBE_STEPS = 5_000
PROBES = 3


def slow_model(features: int, seconds: float) -> tuple[bytes, float]:
    """A model whose run takes about `seconds` here, and how long it should take by the measurement.

    The steps of a loop cost the same each, so a short loop tells what a long one takes. Noise only adds time: the
    shortest of the probes counts, so that the model is too slow rather than too fast.
    """
    runtime()
    probe = Engine("probe", "1", build(features, PROBE_STEPS))
    row = {INPUT: np.zeros((1, features), np.float32)}
    probe.run_once(row)
    shortest = min(_run_seconds(probe, row) for _ in range(PROBES))
    steps = max(PROBE_STEPS, round(PROBE_STEPS * seconds / shortest))
    return build(features, steps), shortest * steps / PROBE_STEPS


def build(features: int, steps: int) -> bytes:
    """input FP32 [batch, features] -> probabilities FP32 [batch, 2] after `steps` steps of a recurrent layer.

    The state depends on the input, so that no optimiser can compute it beforehand.
    """
    rng = np.random.default_rng(0)
    weights = {
        "mixing": rng.normal(size=(features, features)) / np.sqrt(features),
        "head": rng.normal(size=(features, CLASSES)),
    }
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", "mixing"], ["mixed"]),
            helper.make_node("Tanh", ["mixed"], ["next_state"]),
            helper.make_node("Identity", ["go_on"], ["still_go_on"]),
        ],
        "step",
        [_scalar("step_number", TensorProto.INT64), _scalar("go_on", TensorProto.BOOL), _rows("state", features)],
        [_scalar("still_go_on", TensorProto.BOOL), _rows("next_state", features)],
    )
    graph = helper.make_graph(
        [
            helper.make_node("Loop", ["steps", "", INPUT], ["last_state"], body=body),
            helper.make_node("MatMul", ["last_state", "head"], ["logits"]),
            helper.make_node("Softmax", ["logits"], [OUTPUT], axis=1),
        ],
        "slow",
        [_rows(INPUT, features)],
        [_rows(OUTPUT, CLASSES)],
        [
            *(numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()),
            numpy_helper.from_array(np.array(steps, np.int64), "steps"),
        ],
    )
    imports = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION, producer_name="modelward")
    return bytes(model.SerializeToString())


def _run_seconds(engine: Engine, row: dict[str, npt.NDArray[Any]]) -> float:
    start = time.perf_counter()
    engine.run_once(row)
    return time.perf_counter() - start


def _scalar(name: str, datatype: int) -> Any:
    return helper.make_tensor_value_info(name, datatype, [])


def _rows(name: str, columns: int) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", columns])
