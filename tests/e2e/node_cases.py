"""The cases that ONNX has for its operators, served: each answer is bit by bit ONNX Runtime's, or there is a reason.

`run(every)` takes the cases of every n-th file of operators, where n is `every`; 1: all of them: `make bench-nodes`.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx

from modelward.child import Bounds, in_child
from tests import models
from tests.e2e.messages import DATATYPE, Stub, raw_of, request
from tests.support import serve_process

FOLDER = "onnx.backend.test.case.node"
OUTPUTS = tuple[str, tuple[int, ...], bytes]  # name, shape, raw bytes
SECONDS = 600.0
MEMORY = 8 << 30
RANDOM = "its answers are random"
UNCOMPARED = "the Python package of ONNX Runtime does not take its types"


@dataclass
class Results:
    """equal: names of cases that were served, with the bytes that ONNX Runtime gives. differ: with others.

    refused: why, by name: the model was not loaded. errors: the request was refused, and so it is by ONNX Runtime.
    uncompared: cases that were answered, and differ from one run of ONNX Runtime to the next, or are of types that its
    Python package does not take. failed: all else.
    """

    cases: int = 0
    equal: list[str] = field(default_factory=list)
    differ: list[str] = field(default_factory=list)
    uncompared: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def reasons(self) -> Counter[str]:
        """Of models that were refused, without what is in quotes."""
        return Counter(re.sub(r"'[^']*'|\d+", "...", reason) for reason in self.refused.values())


def collect(every: int) -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = importlib.import_module(FOLDER)
        for name in sorted(module.name for module in pkgutil.iter_modules(package.__path__))[::every]:
            importlib.import_module(f"{FOLDER}.{name}")
        return [case for case in package._NodeTestCases if case.data_sets]


def inputs_of(case: Any) -> dict[str, Any] | None:
    """As a request has them; None where one is no tensor, or of a type that the protocol lacks."""
    given = dict(zip((value.name for value in case.model.graph.input), case.data_sets[0][0], strict=False))
    arrays = {}
    for name, array in given.items():
        if isinstance(array, onnx.TensorProto):
            array = onnx.numpy_helper.to_array(array)  # noqa: PLW2901
        if not isinstance(array, np.ndarray | np.generic):
            return None
        array = np.asarray(array)  # noqa: PLW2901
        if array.dtype.kind in "OUS":
            array = np.array([str(item).encode() for item in array.ravel().tolist()], object).reshape(array.shape)  # noqa: PLW2901
        if array.dtype not in DATATYPE:
            return None
        arrays[name] = array
    return arrays


def expected(every: int) -> dict[str, list[OUTPUTS] | str]:
    """What ONNX Runtime itself answers, or what it says; in a process of its own, which it may end."""
    import onnxruntime as ort  # noqa: PLC0415 - only here: its package and the server's use of the library are apart

    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    found: dict[str, list[OUTPUTS] | str] = {}
    for case in collect(every):
        try:
            model = case.model.SerializeToString()
            session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            given = dict(zip((value.name for value in session.get_inputs()), case.data_sets[0][0], strict=False))
            given = {name: _array(value) for name, value in given.items()}
            runs = [_raw(session, session.run(None, given)) for _ in range(2)]
        except Exception as error:  # noqa: BLE001 - the runtime's errors share no base class of their own
            found[case.name] = UNCOMPARED if "numpy" in str(error).lower() else f"error: {str(error)[:200]}"
        else:
            found[case.name] = runs[0] if runs[0] == runs[1] else RANDOM
    return found


def _array(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.generic) else value


def _raw(session: Any, answers: list[Any]) -> list[OUTPUTS]:
    made = []
    for declared, answer in zip(session.get_outputs(), answers, strict=True):
        array = np.asarray(answer)
        if array.dtype.kind in "OUS":
            array = np.array([str(item).encode() for item in array.ravel().tolist()], object).reshape(array.shape)
        made.append((declared.name, array.shape, raw_of(array)))
    return made


def run(every: int, folder: Path) -> Results:
    """Serves all cases from one repository in `folder`, by a process of its own."""
    cases = collect(every)
    results = Results(len(cases))
    root = models.repository(folder, {case.name: case.model.SerializeToString() for case in cases})
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(in_child, Bounds(SECONDS, MEMORY), expected, every)
        with serve_process(root, "--set", "watch=false", "--log-level", "error") as server, Stub(server.grpc) as stub:
            index = {entry.name: entry for entry in stub.ask("RepositoryIndex").models}
            known = asked.result()
            for case in cases:
                entry = index[case.name]
                if entry.state == "UNAVAILABLE":
                    results.refused[case.name] = entry.reason
                    continue
                _ask(stub, case, known[case.name], results)
            assert server.process.poll() is None
            assert server.metric("modelward_worker_restarts_total", reason="died") == 0
    return results


def _ask(stub: Stub, case: Any, wanted: list[OUTPUTS] | str, results: Results) -> None:
    inputs = inputs_of(case)
    if inputs is None:
        results.failed[case.name] = "its inputs cannot be sent, and it was not refused"
        return
    try:
        answer = stub.infer(request(case.name, inputs), timeout=60)
    except grpc.RpcError as error:
        if isinstance(wanted, str) and wanted.startswith("error"):
            results.errors[case.name] = error.details() or ""
        else:
            results.failed[case.name] = f"{error.code().name}: {error.details()}"
        return
    if wanted in (RANDOM, UNCOMPARED):
        results.uncompared.append(case.name)
        return
    outputs = zip(answer.outputs, answer.raw_output_contents, strict=True)
    found = [(output.name, tuple(output.shape), raw) for output, raw in outputs]
    (results.equal if found == wanted else results.differ).append(case.name)
