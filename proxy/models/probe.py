"""Asks ONNX Runtime itself whether it can run a model, without running it."""

import onnxruntime as ort

from proxy.models.artifact import Artifact
from proxy.models.runtime import mend
from proxy.models.signature import TensorSpec
from proxy.problem import Problem

_FATAL_ONLY = 4
_DATATYPES = {
    "BOOL": "bool",
    "FP16": "float16",
    "BF16": "bfloat16",
    "FP32": "float",
    "FP64": "double",
    "BYTES": "string",
}


def probe(artifact: Artifact) -> list[Problem]:
    """Problems of building a session on the CPU: an operator without a kernel, shapes that contradict each other.

    Costs what loading the model costs; the session is dropped at once.
    """
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    where = str(artifact.file)
    try:
        session = ort.InferenceSession(artifact.data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - the runtime's errors share no base class of their own
        why = str(error).partition("\n")[0][:500]
        return [Problem("ONNX Runtime cannot load the model", where, why, mend(why))]
    problems = []
    for kind, declared, found in (
        ("inputs", artifact.inputs, session.get_inputs()),
        ("outputs", artifact.outputs, session.get_outputs()),
    ):
        if [(spec.name, _onnxruntime_type(spec)) for spec in declared] != [(node.name, node.type) for node in found]:
            problems.append(
                Problem(f"ONNX Runtime sees other {kind} than the file declares", where, how="Export it again")
            )
    return problems


def _onnxruntime_type(spec: TensorSpec) -> str:
    return f"tensor({_DATATYPES.get(spec.datatype, spec.datatype.lower())})"
