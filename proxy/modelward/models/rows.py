"""Whether rows of different requests may share a run: found in the graph, since values may hide what joins them.

Every tensor is followed from the inputs on: which of its axes counts the rows. An operator is known to keep rows apart,
or it is the answer's reason: one that works along that axis, uses how many rows there are, or is not known here.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import numpy_helper, shape_inference

from modelward.tensors import TensorSpec, has_batch_axis

log = logging.getLogger("modelward.models")

MOST_NODES = 50_000
LARGEST_KEPT = 4096  # bytes of a constant whose values are looked at; shapes are far smaller
DEEPEST = 4  # branches within branches


@dataclass(frozen=True, slots=True)
class Size:
    """A product: a number, names of dimensions that do not depend on the rows, and `rows` times the number of rows."""

    number: int = 1
    names: tuple[str, ...] = ()
    rows: int = 0

    def times(self, other: Size) -> Size:
        names = tuple(sorted(self.names + other.names))
        return Size(self.number * other.number, names, self.rows + other.rows)

    def over(self, other: Size) -> Size | None:
        """The quotient where it is surely whole, else None."""
        left = list(self.names)
        for name in other.names:
            if name not in left:
                return None
            left.remove(name)
        if other.number == 0 or self.number % other.number or self.rows < other.rows:
            return None
        return Size(self.number // other.number, tuple(left), self.rows - other.rows)


ONE, ROWS = Size(), Size(rows=1)
# of an element of a small tensor: a Size, or one of these
APART = "apart"  # a number that does not depend on the rows
MIXED = "mixed"  # one that does, in a way that is not followed
Element = Size | str


@dataclass(frozen=True, slots=True)
class Value:
    """What is known of a tensor. axis: which one counts the rows, None where it does not depend on them; `outer` is how
    often rows are repeated before them within that axis. dims: None where not even the rank is known. small: the
    elements of a whole-number tensor of at most one dimension, where they are known.
    """

    dims: tuple[Size | None, ...] | None = None
    axis: int | None = None
    outer: Size = ONE
    small: tuple[Element, ...] | None = None

    @property
    def is_apart(self) -> bool:
        """It is the same whichever rows there are."""
        return self.axis is None and not any(_counts_rows(element) for element in self.small or ())

    @property
    def rank(self) -> int:
        if self.dims is None:
            raise NotShown("the rank of what it works on is not known")
        return len(self.dims)


def _counts_rows(element: Element) -> bool:
    return element == MIXED or (isinstance(element, Size) and element.rows > 0)


class NotShown(Exception):
    """Why an operator is not shown to keep rows apart."""


@dataclass(frozen=True, slots=True)
class Node:
    """An operator with what is known of its inputs; None where an optional one is left out."""

    proto: Any
    opset: int
    inputs: tuple[Value | None, ...]
    dims: tuple[tuple[Size | None, ...] | None, ...]  # of its outputs, as far as they are inferred

    def attribute(self, name: str, default: Any = None) -> Any:
        for attribute in self.proto.attribute:
            if attribute.name == name:
                return onnx.helper.get_attribute_value(attribute)
        return default

    def has(self, position: int) -> bool:
        return position < len(self.inputs) and self.inputs[position] is not None

    def given(self, position: int) -> Value:
        found = self.inputs[position] if position < len(self.inputs) else None
        if found is None:
            raise NotShown("an input is missing")
        return found

    def numbers(self, position: int) -> list[int]:
        """The values of an input that says how, not what."""
        small = self.given(position).small
        if small is None or not all(isinstance(e, Size) and not e.names and not e.rows for e in small):
            raise NotShown("how it works depends on values that are not known")
        return [e.number for e in small if isinstance(e, Size)]

    def along(self, axis: int, value: Value) -> int:
        """An axis as it is written, counted from the first."""
        return axis + value.rank if axis < 0 else axis


def entangled(model: Any, inputs: Sequence[TensorSpec]) -> str:
    """Why the rows of a ModelProto's inputs are not shown to be independent, or ""."""
    from modelward.models.row_operators import apply  # noqa: PLC0415 - which needs the classes of this module

    if not has_batch_axis(tuple(inputs)):
        return ""
    try:
        bare = skeleton(model)
        if len(bare.graph.node) > MOST_NODES:
            return f"it has more than {MOST_NODES} nodes"
        walk = _Walk(bare, apply)
        values = {spec.name: _given(spec) for spec in inputs}
        walk.follow(bare.graph, walk.constants(bare.graph) | values, 0)
        outputs = [output.name for output in bare.graph.output]
    except NotShown as why:
        return str(why)
    except Exception as error:
        # it contradicts itself: the runtime has the last word
        log.debug("rows of a graph were not followed", exc_info=error)
        return "its graph is not understood"
    for name in outputs:
        value = walk.known.get(name)
        if value is None or value.axis != 0 or value.outer != ONE:
            return f"output '{name}' is not shown to have a row for each row of the input"
    return ""


def _given(spec: TensorSpec) -> Value:
    """An input: its other dimensions are equal in all requests that share a run."""
    dims = [Size(d) if d >= 0 else Size(1, (f"{spec.name}[{i}]",)) for i, d in enumerate(spec.shape)]
    return Value((ROWS, *dims[1:]), 0)


class _Walk:
    def __init__(self, model: Any, apply: Any) -> None:
        self.known: dict[str, Value] = {}
        self._apply = apply
        self._opsets = {imported.domain: imported.version for imported in model.opset_import}
        self._inferred = {info.name: _dims(info) for info in (*model.graph.value_info, *model.graph.output)}

    def constants(self, graph: Any) -> dict[str, Value]:
        return {tensor.name: constant(tensor) for tensor in graph.initializer}

    def follow(self, graph: Any, values: Mapping[str, Value], depth: int) -> None:
        self.known.update(values)
        for node in graph.node:
            inputs = tuple(self.known.get(name) if name else None for name in node.input)
            for name, value in zip(node.input, inputs, strict=True):
                if name and value is None:
                    raise NotShown(f"node '{_name(node)}' ({node.op_type}): its input '{name}' is not known")
            domain = "" if node.domain == "ai.onnx" else node.domain
            dims = tuple(self._inferred.get(name) for name in node.output)
            seen = Node(node, self._opsets.get(domain, 0), inputs, dims)
            try:
                if node.op_type == "If":
                    made = self._branches(node, inputs, depth)
                elif node.op_type in {"Scan", "Loop"}:
                    made = self._repeated(seen, depth)
                else:
                    made = self._apply(seen)
            except NotShown as why:
                if "node '" in str(why):
                    raise
                raise NotShown(f"node '{_name(node)}' ({node.op_type}): {why}") from None
            self.known.update((name, value) for name, value in zip(node.output, made, strict=False) if name)

    def _branches(self, node: Any, inputs: Sequence[Value | None], depth: int) -> list[Value]:
        """Both branches, where neither rows nor their number decide which one is taken."""
        if depth >= DEEPEST or inputs[0] is None or not inputs[0].is_apart:
            raise NotShown("rows decide which branch is taken")
        made = []
        for attribute in node.attribute:
            self.follow(attribute.g, self.constants(attribute.g), depth + 1)
            made.append([self.known[output.name] for output in attribute.g.output])
        if any((a.axis, a.outer) != (b.axis, b.outer) for a, b in zip(*made, strict=True)):
            raise NotShown("its branches treat rows differently")
        if any(value.axis is None and not value.is_apart for values in made for value in values):
            raise NotShown("it uses how many rows there are")
        return [Value(a.dims if a.dims == b.dims else None, a.axis, a.outer) for a, b in zip(*made, strict=True)]

    def _repeated(self, node: Node, depth: int) -> list[Value]:
        """A body that is run again and again, as often for each row, on states whose rows stay where they are."""
        is_scan = node.proto.op_type == "Scan"
        body, given = node.attribute("body"), list(node.inputs)
        axes = ("scan_input_axes", "scan_output_axes", "scan_input_directions", "scan_output_directions")
        if depth >= DEEPEST or node.opset < 9 or any(any(node.attribute(name) or ()) for name in axes):
            raise NotShown("what it contains is not followed")
        scanned = node.attribute("num_scan_inputs") if is_scan else 0
        first = 0 if is_scan else 2  # how often, and whether to go on
        states = [value for value in given[first : len(given) - scanned] if value is not None]
        if any(value is not None and not value.is_apart for value in given[:first]):
            raise NotShown("rows decide how often it is run")
        pieces = [_piece(value) for value in given[len(given) - scanned :]] if scanned else []
        begin = [Value(()), Value(())] if not is_scan else []
        values = [*begin, *map(_loosened, states), *pieces]
        if len(values) != len(body.input):
            raise NotShown("what it contains is not followed")
        inputs = {declared.name: value for declared, value in zip(body.input, values, strict=True)}
        self.follow(body, self.constants(body) | inputs, depth + 1)
        ends = [self.known[output.name] for output in body.output]
        if not is_scan and not ends.pop(0).is_apart:
            raise NotShown("rows decide how often it is run")
        for before, after in zip(states, ends, strict=False):
            if (before.axis, before.outer) != (after.axis, after.outer):
                raise NotShown("its state moves rows")
        if any(value.axis is None and not value.is_apart for value in (*states, *ends)):
            raise NotShown("it uses how many rows there are")
        results = [Value(v.dims, v.axis, v.outer) for v in ends[: len(states)]]
        for value in ends[len(states) :]:
            dims = None if value.dims is None else (None, *value.dims)
            results.append(Value(dims, None if value.axis is None else value.axis + 1, value.outer))
        return results


def _loosened(value: Value) -> Value:
    """A state of which nothing is known but where its rows are: its other dimensions may grow."""
    if value.dims is None or value.axis is None:
        return Value(None if value.dims is None else (None,) * len(value.dims), value.axis, value.outer)
    dims = tuple(size if i == value.axis and size == ROWS else None for i, size in enumerate(value.dims))
    return Value(dims, value.axis, value.outer)


def _piece(value: Value | None) -> Value:
    """What a scan gives its body of an input: all but the first dimension."""
    if value is None or value.axis == 0 or (value.axis is None and not value.is_apart):
        raise NotShown("it works along the axis of the rows")
    axis = None if value.axis is None else value.axis - 1
    return Value(None if value.dims is None else value.dims[1:], axis, value.outer)


def constant(tensor: Any) -> Value:
    """Of a TensorProto."""
    dims = tuple(Size(size) for size in tensor.dims)
    is_number = tensor.data_type in {onnx.TensorProto.INT64, onnx.TensorProto.INT32, onnx.TensorProto.FLOAT}
    is_here = tensor.ByteSize() <= LARGEST_KEPT and tensor.data_location != onnx.TensorProto.EXTERNAL
    if len(dims) > 1 or not is_number or not is_here:
        return Value(dims)
    numbers = numpy_helper.to_array(tensor).ravel().tolist()
    whole = [float(each).is_integer() for each in numbers]
    return Value(dims, small=tuple(Size(int(n)) if w else APART for n, w in zip(numbers, whole, strict=True)))


def _dims(info: Any) -> tuple[Size | None, ...] | None:
    kind = info.type.tensor_type
    if not info.type.HasField("tensor_type") or not kind.HasField("shape"):
        return None
    return tuple(Size(d.dim_value) if d.HasField("dim_value") else None for d in kind.shape.dim)


def _name(node: Any) -> str:
    return str(node.name or next(iter(node.output), ""))[:80]


def skeleton(model: Any) -> Any:
    """The model without its weights, with functions expanded and the shapes that can be inferred."""
    small = onnx.ModelProto()
    small.ir_version = model.ir_version
    small.opset_import.extend(model.opset_import)
    small.functions.extend(model.functions)
    graph = small.graph
    graph.name = model.graph.name or "graph"
    if len(model.graph.node) > MOST_NODES:
        raise NotShown(f"it has more than {MOST_NODES} nodes")
    for node in model.graph.node:
        is_large = node.op_type == "Constant" and node.ByteSize() > LARGEST_KEPT and node.attribute[0].HasField("t")
        if not is_large:
            graph.node.append(node)
            continue
        constant_node = graph.node.add(op_type="Constant", name=node.name, output=node.output, domain=node.domain)
        _leave_out(node.attribute[0].t, constant_node.attribute.add(name="value", type=node.attribute[0].type).t)
    graph.output.extend(model.graph.output)
    constants = set()
    for tensor in model.graph.initializer:
        constants.add(tensor.name)
        if tensor.ByteSize() <= LARGEST_KEPT:
            graph.initializer.append(tensor)
        else:
            _leave_out(tensor, graph.initializer.add())
    graph.input.extend(value for value in model.graph.input if value.name not in constants)
    try:
        if small.functions:
            from onnx import inliner  # noqa: PLC0415 - only where there are functions

            small = inliner.inline_local_functions(small)
        return shape_inference.infer_shapes(small)
    except Exception as error:  # noqa: BLE001 - the library's errors share no base class of their own
        raise NotShown(f"its shapes contradict each other: {str(error)[:100]}") from None


def _leave_out(tensor: Any, kept: Any) -> None:
    """A TensorProto with another's shape, and none of its data."""
    kept.name, kept.data_type, kept.data_location = tensor.name, tensor.data_type, onnx.TensorProto.EXTERNAL
    kept.dims.extend(tensor.dims)
    kept.external_data.add(key="location", value="left-out")
