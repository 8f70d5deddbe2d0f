"""Small ONNX models for tests: each function builds one and returns its serialized bytes.

`Path.write_bytes` puts one into a repository; ONNX Runtime's `InferenceSession` takes the bytes as they are.
Unless a function says otherwise the first axis is the batch, dynamic and named "batch".
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from onnx import TensorProto, external_data_helper, helper, numpy_helper
from onnx.onnx_ml_pb2 import FunctionProto, GraphProto, ModelProto, NodeProto, ValueInfoProto

OPSET = 17
IR_VERSION = 8
BATCH = "batch"

Shape = Sequence[int | str | None]


def tensor(name: str, datatype: int, shape: Shape | None) -> ValueInfoProto:
    """One declared input or output; a string in `shape` is a symbol, None an axis without a name."""
    return helper.make_tensor_value_info(name, datatype, shape)


def model(
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    initializers: Sequence[TensorProto] = (),
    *,
    opset: int = OPSET,
    ir_version: int = IR_VERSION,
    domains: Sequence[tuple[str, int]] = (),
) -> ModelProto:
    """A model of one graph; `domains` are further (domain, version) imports."""
    graph = helper.make_graph(list(nodes), "test", list(inputs), list(outputs), list(initializers))
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(*d) for d in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir_version, producer_name="modelward-tests")


def add_one(datatype: int = TensorProto.FLOAT, columns: int = 4) -> bytes:
    """x [batch, columns] -> y = x + 1, of any numeric type that ONNX Runtime adds (FLOAT, DOUBLE, INT32, INT64...)."""
    one = numpy_helper.from_array(np.ones(1, helper.tensor_dtype_to_np_dtype(datatype)), "one")
    return model(
        [helper.make_node("Add", ["x", "one"], ["y"])],
        [tensor("x", datatype, [BATCH, columns])],
        [tensor("y", datatype, [BATCH, columns])],
        [one],
    ).SerializeToString()


def add_one_below(limit: int, columns: int = 4) -> bytes:
    """As add_one, but a row with a number of `limit` or more fails: it is taken for the index of as many zeros."""
    initializers = [("one", np.ones(1, np.float32)), ("zeros", np.zeros(limit, np.float32))]
    return model(
        [
            helper.make_node("Cast", ["x"], ["index"], to=TensorProto.INT64),
            helper.make_node("Gather", ["zeros", "index"], ["nothing"]),
            helper.make_node("Add", ["x", "one"], ["more"]),
            helper.make_node("Add", ["more", "nothing"], ["y"]),
        ],
        [tensor("x", TensorProto.FLOAT, [BATCH, columns])],
        [tensor("y", TensorProto.FLOAT, [BATCH, columns])],
        [numpy_helper.from_array(value, name) for name, value in initializers],
    ).SerializeToString()


def identity(datatype: int = TensorProto.FLOAT, shape: Shape = (BATCH, 4)) -> bytes:
    """x -> y, the same bytes back: every datatype and any shape."""
    return model(
        [helper.make_node("Identity", ["x"], ["y"])], [tensor("x", datatype, shape)], [tensor("y", datatype, shape)]
    ).SerializeToString()


def both_signs(columns: int = 2) -> bytes:
    """x FP32 [batch, columns] -> y = x and z = -x."""
    tensors = [tensor(name, TensorProto.FLOAT, [BATCH, columns]) for name in ("x", "y", "z")]
    nodes = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["z"])]
    return model(nodes, tensors[:1], tensors[1:]).SerializeToString()


def mlp(features: int = 30, hidden: int = 16, classes: int = 2, seed: int = 0) -> bytes:
    """input FP32 [batch, features] -> label INT64 [batch] and probabilities FP32 [batch, classes], random weights."""
    rng = np.random.default_rng(seed)
    weights = {
        "w0": rng.normal(size=(features, hidden)),
        "b0": rng.normal(size=hidden),
        "w1": rng.normal(size=(hidden, classes)),
        "b1": rng.normal(size=classes),
    }
    return model(
        [
            helper.make_node("Gemm", ["input", "w0", "b0"], ["h0"]),
            helper.make_node("Relu", ["h0"], ["h1"]),
            helper.make_node("Gemm", ["h1", "w1", "b1"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
            helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
        ],
        [tensor("input", TensorProto.FLOAT, [BATCH, features])],
        [tensor("label", TensorProto.INT64, [BATCH]), tensor("probabilities", TensorProto.FLOAT, [BATCH, classes])],
        [numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()],
    ).SerializeToString()


def strings(columns: int = 2) -> bytes:
    """text BYTES [batch, columns] -> echo, the same strings."""
    shape = [BATCH, columns]
    return model(
        [helper.make_node("Identity", ["text"], ["echo"])],
        [tensor("text", TensorProto.STRING, shape)],
        [tensor("echo", TensorProto.STRING, shape)],
    ).SerializeToString()


def two_inputs() -> bytes:
    """a FP32 [batch, 3], b INT64 [batch, 2] -> total FP32 [batch, 1] (both sums) and negated INT64 [batch, 2]."""
    axes = numpy_helper.from_array(np.array([1], np.int64), "axes")
    return model(
        [
            helper.make_node("ReduceSum", ["a", "axes"], ["sum_a"]),
            helper.make_node("Cast", ["b"], ["b_float"], to=TensorProto.FLOAT),
            helper.make_node("ReduceSum", ["b_float", "axes"], ["sum_b"]),
            helper.make_node("Add", ["sum_a", "sum_b"], ["total"]),
            helper.make_node("Neg", ["b"], ["negated"]),
        ],
        [tensor("a", TensorProto.FLOAT, [BATCH, 3]), tensor("b", TensorProto.INT64, [BATCH, 2])],
        [tensor("total", TensorProto.FLOAT, [BATCH, 1]), tensor("negated", TensorProto.INT64, [BATCH, 2])],
        [axes],
    ).SerializeToString()


def fixed_batch(rows: int = 2, columns: int = 4) -> bytes:
    """x FP32 [rows, columns] -> y = x + 1 with no dynamic axis: requests cannot be batched."""
    shape = [rows, columns]
    return model(
        [helper.make_node("Add", ["x", "one"], ["y"])],
        [tensor("x", TensorProto.FLOAT, shape)],
        [tensor("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.ones(1, np.float32), "one")],
    ).SerializeToString()


def slow_loop(iterations: int, width: int = 256) -> bytes:
    """x FP32 [batch, 4] -> y FP32 [batch, 4] after `iterations` products with a `width` x `width` matrix.

    Run time grows linearly with `iterations`, about 10 us each for one row (6 ms at 500); 2**62 never ends.
    The loop's state depends on the input, so no optimiser can fold it away.
    """
    rng = np.random.default_rng(0)
    weights = {
        "into": rng.normal(size=(4, width)),
        "square": rng.normal(size=(width, width)) / np.sqrt(width),
        "out": rng.normal(size=(width, 4)),
    }
    state: Shape = [BATCH, width]
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["before", "square"], ["product"]),
            helper.make_node("Tanh", ["product"], ["after"]),
            helper.make_node("Identity", ["go_on"], ["still_go_on"]),
        ],
        "body",
        [
            tensor("iteration", TensorProto.INT64, []),
            tensor("go_on", TensorProto.BOOL, []),
            tensor("before", TensorProto.FLOAT, state),
        ],
        [tensor("still_go_on", TensorProto.BOOL, []), tensor("after", TensorProto.FLOAT, state)],
    )
    return model(
        [
            helper.make_node("MatMul", ["x", "into"], ["start"]),
            helper.make_node("Loop", ["iterations", "", "start"], ["end"], body=body),
            helper.make_node("MatMul", ["end", "out"], ["y"]),
        ],
        [tensor("x", TensorProto.FLOAT, [BATCH, 4])],
        [tensor("y", TensorProto.FLOAT, [BATCH, 4])],
        [
            *(numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()),
            numpy_helper.from_array(np.array(iterations, np.int64), "iterations"),
        ],
    ).SerializeToString()


def hungry(rows: int) -> bytes:
    """x FP32 [batch, 4] -> y, plus the sum of a product of two `rows` x `rows` matrices: computed when it is opened."""
    return model(
        [
            helper.make_node("ConstantOfShape", ["shape"], ["ones"]),
            helper.make_node("MatMul", ["ones", "ones"], ["product"]),
            helper.make_node("ReduceSum", ["product"], ["sum"], keepdims=0),
            helper.make_node("Add", ["x", "sum"], ["y"]),
        ],
        [tensor("x", TensorProto.FLOAT, [BATCH, 4])],
        [tensor("y", TensorProto.FLOAT, [BATCH, 4])],
        [numpy_helper.from_array(np.array([rows, rows], np.int64), "shape")],
    ).SerializeToString()


def sequence_output() -> bytes:
    """x FP32 [batch, 4] -> parts, a sequence of tensors: something the protocol has no tensor for."""
    return model(
        [helper.make_node("SplitToSequence", ["x"], ["parts"], axis=0)],
        [tensor("x", TensorProto.FLOAT, [BATCH, 4])],
        [helper.make_tensor_sequence_value_info("parts", TensorProto.FLOAT, None)],
    ).SerializeToString()


def custom_domain(domain: str = "example.custom", operator: str = "Teleport") -> bytes:
    """x -> y through an operator of a domain that is not ONNX's own."""
    return model(
        [helper.make_node(operator, ["x"], ["y"], domain=domain)],
        [tensor("x", TensorProto.FLOAT, [BATCH, 4])],
        [tensor("y", TensorProto.FLOAT, [BATCH, 4])],
        domains=[(domain, 1)],
    ).SerializeToString()


def custom_domain_in_branch(domain: str = "example.custom") -> bytes:
    """As `custom_domain`, with the operator hidden in both branches of an If."""

    def branch(name: str) -> GraphProto:
        return helper.make_graph(
            [helper.make_node("Teleport", ["x"], [name], domain=domain)],
            name,
            [],
            [tensor(name, TensorProto.FLOAT, [BATCH, 4])],
        )

    return model(
        [helper.make_node("If", ["flag"], ["y"], then_branch=branch("then"), else_branch=branch("else"))],
        [tensor("x", TensorProto.FLOAT, [BATCH, 4]), tensor("flag", TensorProto.BOOL, [])],
        [tensor("y", TensorProto.FLOAT, [BATCH, 4])],
        domains=[(domain, 1)],
    ).SerializeToString()


def external_data(folder: Path, location: str = "weights.bin", *, write: bool = True, columns: int = 4) -> bytes:
    """y = x + weights with `weights` = 0, 1, 2... in the file `location`, relative to the model's folder.

    `write=False` leaves the file out, for locations that a test prepares itself.
    """
    weights = np.arange(columns, dtype=np.float32)
    if write:
        (folder / location).parent.mkdir(parents=True, exist_ok=True)
        (folder / location).write_bytes(weights.tobytes())
    initializer = numpy_helper.from_array(weights, "weights")
    external_data_helper.set_external_data(initializer, location, offset=0, length=weights.nbytes)
    initializer.ClearField("raw_data")
    return model(
        [helper.make_node("Add", ["x", "weights"], ["y"])],
        [tensor("x", TensorProto.FLOAT, [BATCH, columns])],
        [tensor("y", TensorProto.FLOAT, [BATCH, columns])],
        [initializer],
    ).SerializeToString()


def repository(root: Path, models: Mapping[str, bytes | dict[int, bytes]]) -> Path:
    """Writes Triton's layout: name -> bytes of version 1, or name -> {version: bytes}. Returns `root`."""
    for name, versions in models.items():
        for version, content in (versions if isinstance(versions, dict) else {1: versions}).items():
            folder = root / name / str(version)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "model.onnx").write_bytes(content)
    return root


def loop_of_steps(columns: int = 4) -> bytes:
    """Inputs x FP32 [batch, columns] and steps INT64 [batch, 1]; tanh as many times as the largest of steps says."""
    state = tensor("state", TensorProto.FLOAT, (BATCH, columns))
    going = tensor("going", TensorProto.BOOL, ())
    body = helper.make_graph(
        [helper.make_node("Tanh", ["state"], ["next"]), helper.make_node("Identity", ["going"], ["on"])],
        "body",
        [tensor("i", TensorProto.INT64, ()), going, state],
        [tensor("on", TensorProto.BOOL, ()), tensor("next", TensorProto.FLOAT, (BATCH, columns))],
    )
    nodes = [
        helper.make_node("ReduceMax", ["steps"], ["trips"], keepdims=0),
        helper.make_node("Loop", ["trips", "", "x"], ["y"], body=body),
    ]
    inputs = [tensor("x", TensorProto.FLOAT, (BATCH, columns)), tensor("steps", TensorProto.INT64, (BATCH, 1))]
    return model(nodes, inputs, [tensor("y", TensorProto.FLOAT, (BATCH, columns))]).SerializeToString()


def gru(features: int = 4, hidden: int = 8) -> bytes:
    """x FP32 [batch, sequence, features] -> y FP32 [1, batch, hidden], batch first.

    The runtime dies of a sequence of 0.
    """
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(1, 3 * hidden, features)), "r": rng.normal(size=(1, 3 * hidden, hidden))}
    return model(
        [
            helper.make_node("Transpose", ["x"], ["time_first"], perm=[1, 0, 2]),
            helper.make_node("GRU", ["time_first", "w", "r"], ["", "y"], hidden_size=hidden),
        ],
        [tensor("x", TensorProto.FLOAT, [BATCH, "sequence", features])],
        [tensor("y", TensorProto.FLOAT, [1, BATCH, hidden])],
        [numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()],
    ).SerializeToString()


def voice_activity(hidden: int = 16) -> bytes:
    """As a detector of speech: input FP32 [batch, samples], state FP32 [2, batch, hidden] -> output, stateN; an LSTM.

    The runtime dies of a batch of 0.
    """
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(1, 4 * hidden, 1)), "r": rng.normal(size=(1, 4 * hidden, hidden))}
    axes = {"zero": [0], "two": [2]}
    return model(
        [
            helper.make_node("Unsqueeze", ["input", "two"], ["column"]),
            helper.make_node("Transpose", ["column"], ["time_first"], perm=[1, 0, 2]),
            helper.make_node("Split", ["state"], ["h", "c"], axis=0),
            helper.make_node("LSTM", ["time_first", "w", "r", "", "", "h", "c"], ["", "hn", "cn"], hidden_size=hidden),
            helper.make_node("Concat", ["hn", "cn"], ["stateN"], axis=0),
            helper.make_node("ReduceMean", ["hn"], ["output"], axes=[2], keepdims=0),
        ],
        [
            tensor("input", TensorProto.FLOAT, [BATCH, "samples"]),
            tensor("state", TensorProto.FLOAT, [2, BATCH, hidden]),
        ],
        [tensor("output", TensorProto.FLOAT, [1, BATCH]), tensor("stateN", TensorProto.FLOAT, [2, BATCH, hidden])],
        [
            *(numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()),
            *(numpy_helper.from_array(np.array(a, np.int64), name) for name, a in axes.items()),
        ],
    ).SerializeToString()


def with_past(heads: int = 2, size: int = 3) -> bytes:
    """A step of a decoder: x FP32 [batch, heads, new, size] and past, of as many rows or none, joined along axis 2."""
    return model(
        [helper.make_node("Concat", ["past", "x"], ["present"], axis=2)],
        [
            tensor("past", TensorProto.FLOAT, [BATCH, heads, "past", size]),
            tensor("x", TensorProto.FLOAT, [BATCH, heads, "new", size]),
        ],
        [tensor("present", TensorProto.FLOAT, [BATCH, heads, "total", size])],
    ).SerializeToString()


def trapping(dividend: str, divisor: str, result: str) -> tuple[NodeProto, FunctionProto]:
    """A whole-number division, in a function, where it is not guarded: the processor traps at the smallest by -1."""
    node = helper.make_node("Div", ["p", "q"], ["r"], name="division")
    function = helper.make_function("test", "Ratio", ["p", "q"], ["r"], [node], [helper.make_opsetid("", OPSET)])
    return helper.make_node("Ratio", [dividend, divisor], [result], domain="test"), function


def dividing(*, in_thread: bool = False) -> bytes:
    """a and b INT64 [batch, columns] -> y = a / b, by `trapping`.

    in_thread: y is tiled by the largest of |b|, so that runs never are the loop's.
    """
    shape: Shape = [BATCH, "columns"]
    node, function = trapping("a", "b", "ratio" if in_thread else "y")
    nodes = [node]
    if in_thread:
        nodes += [
            helper.make_node("Abs", ["b"], ["size"]),
            helper.make_node("ReduceMax", ["size"], ["largest"], keepdims=0),
            helper.make_node("Expand", ["largest", "two"], ["repeats"]),
            helper.make_node("Tile", ["ratio", "repeats"], ["y"]),
        ]
    made = model(
        nodes,
        [tensor(name, TensorProto.INT64, shape) for name in "ab"],
        [tensor("y", TensorProto.INT64, shape)],
        [numpy_helper.from_array(np.array([2], np.int64), "two")],
        domains=[("test", 1)],
    )
    made.functions.append(function)
    return made.SerializeToString()


def dividing_in_pool(elements: int = 1 << 18) -> bytes:
    """a and b INT64 [1] -> y INT64 [1] = a / b by `trapping`, the last of `elements` that the pool's threads divide.

    The others are a / a.
    """
    node, function = trapping("dividends", "divisors", "ratios")
    constants = {"all": [elements], "others": [elements - 1], "last": [elements - 1]}
    made = model(
        [
            helper.make_node("Expand", ["a", "all"], ["dividends"]),
            helper.make_node("Expand", ["a", "others"], ["same"]),
            helper.make_node("Concat", ["same", "b"], ["divisors"], axis=0),
            node,
            helper.make_node("Gather", ["ratios", "last"], ["y"]),
        ],
        [tensor(name, TensorProto.INT64, [1]) for name in "ab"],
        [tensor("y", TensorProto.INT64, [1])],
        [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in constants.items()],
        domains=[("test", 1)],
    )
    made.functions.append(function)
    return made.SerializeToString()


def convolutions(layers: int = 1) -> bytes:
    """x [batch, 3, height, width] -> y [batch, 3]: convolutions of 3 x 3 without padding that halve the picture, and
    the mean of what is left. One takes pictures of 3 x 3 and larger, five those of 63 x 63."""
    names = ["x", *(f"c{i}" for i in range(layers))]
    nodes = [helper.make_node("Conv", [before, "w"], [after], strides=[2, 2]) for before, after in pairwise(names)]
    nodes += [helper.make_node("GlobalAveragePool", names[-1:], ["p"]), helper.make_node("Flatten", ["p"], ["y"])]
    weights = np.random.default_rng(0).normal(0, 0.2, (3, 3, 3, 3)).astype(np.float32)
    return model(
        nodes,
        [tensor("x", TensorProto.FLOAT, [BATCH, 3, "height", "width"])],
        [tensor("y", TensorProto.FLOAT, [BATCH, 3])],
        [numpy_helper.from_array(weights, "w")],
    ).SerializeToString()
