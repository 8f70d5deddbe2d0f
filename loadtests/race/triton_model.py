"""Runs inside Triton's Python backend, never imported by this project: the raced model, one ONNX Runtime call a batch."""
import os
import sys
from pathlib import Path

# the stub's interpreter ignores PYTHONPATH
sys.path.insert(0, os.environ["RACE_PACKAGES"])

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import triton_python_backend_utils as backend  # noqa: E402


class TritonPythonModel:
    """Triton looks for this name."""

    def initialize(self, args):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        model = Path(args["model_repository"], args["model_version"], "model.onnx")
        self.session = onnxruntime.InferenceSession(str(model), options)

    def execute(self, requests):
        inputs = [backend.get_input_tensor_by_name(request, "X").as_numpy() for request in requests]
        rows = inputs[0] if len(inputs) == 1 else np.concatenate(inputs)
        labels, probabilities = self.session.run(["label", "probabilities"], {"X": rows})
        responses, first = [], 0
        for array in inputs:
            last = first + len(array)
            outputs = [backend.Tensor("label", labels[first:last]), backend.Tensor("probabilities", probabilities[first:last])]
            responses.append(backend.InferenceResponse(output_tensors=outputs))
            first = last
        return responses
