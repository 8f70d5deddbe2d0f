"""Runs inside Triton's Python backend, never imported here: see the package for what the models do."""

import os
import sys
import time
from typing import Any

# the stub's interpreter ignores PYTHONPATH
sys.path.insert(0, os.environ["TRITON_PACKAGES"])

import numpy as np
import triton_python_backend_utils as backend

SLOW_SECONDS = 0.5


class TritonPythonModel:
    """Triton looks for this name."""

    def initialize(self, args: dict[str, str]) -> None:
        self.name = args["model_name"]
        if self.name == "broken":
            raise ValueError("it is broken")

    def execute(self, requests: list[Any]) -> list[Any] | None:
        if self.name == "repeat":
            for request in requests:
                self.repeat(request)
            return None
        if self.name == "slow":
            time.sleep(SLOW_SECONDS)
        return [backend.InferenceResponse([backend.Tensor("y", self.add(request))]) for request in requests]

    def add(self, request: Any) -> np.ndarray:
        x, by = (backend.get_input_tensor_by_name(request, name) for name in ("x", "by"))
        return x.as_numpy() + (1 if by is None else by.as_numpy())

    def repeat(self, request: Any) -> None:
        sender = request.get_response_sender()
        for i in range(int(backend.get_input_tensor_by_name(request, "x").as_numpy().item())):
            sender.send(backend.InferenceResponse([backend.Tensor("y", np.array([[i]], np.int32))]))
        sender.send(flags=backend.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
