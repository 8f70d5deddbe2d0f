"""Runs inside Triton's Python backend, never imported here: the raced model, one ONNX Runtime call a batch."""

import os
import sys
from pathlib import Path
from typing import Any

# the stub's interpreter ignores PYTHONPATH
sys.path.insert(0, os.environ["TRITON_PACKAGES"])

import numpy as np
import onnxruntime
import triton_python_backend_utils as backend


class TritonPythonModel:
    """Triton looks for this name."""

    def initialize(self, args: dict[str, str]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        model = Path(args["model_repository"], args["model_version"], "model.onnx")
        self.session = onnxruntime.InferenceSession(str(model), options)

    def execute(self, requests: list[Any]) -> list[Any]:
        inputs = [backend.get_input_tensor_by_name(request, "X").as_numpy() for request in requests]
        rows = inputs[0] if len(inputs) == 1 else np.concatenate(inputs)
        labels, probabilities = self.session.run(["label", "probabilities"], {"X": rows})
        responses, first = [], 0
        for array in inputs:
            last = first + len(array)
            label = backend.Tensor("label", labels[first:last])
            responses.append(
                backend.InferenceResponse([label, backend.Tensor("probabilities", probabilities[first:last])])
            )
            first = last
        return responses
