"""Rows followed from the inputs of a graph to its outputs, operator by operator."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from modelward.models.rows.operators import apply
from modelward.models.rows.skeleton import MOST_NODES, bare, skeleton
from modelward.models.rows.values import ONE, ROWS, Node, NotShown, Size, Value, constant
from modelward.tensors import TensorSpec, has_batch_axis

log = logging.getLogger("modelward.models")


DEEPEST = 4  # branches within branches


def entangled(model: Any, inputs: Sequence[TensorSpec]) -> str:
    """Why the rows of a ModelProto's inputs are not shown to be independent, or ""."""
    if not has_batch_axis(tuple(inputs)):
        return ""
    # most graphs are followed without the shapes that can be inferred, which cost memory
    return _entangled(model, inputs, infer=False) and _entangled(model, inputs, infer=True)


def _entangled(model: Any, inputs: Sequence[TensorSpec], *, infer: bool) -> str:
    try:
        graph = (small := skeleton(model) if infer else bare(model)).graph
        if len(graph.node) > MOST_NODES:
            return f"it has more than {MOST_NODES} nodes"
        walk = _Walk(small, infer)
        values = {spec.name: _given(spec) for spec in inputs}
        walk.follow(graph, walk.constants(graph) | values, 0)
        outputs = [output.name for output in graph.output]
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
    def __init__(self, model: Any, inferred: bool) -> None:
        """inferred: its shapes are not only what the model says of itself."""
        self.known: dict[str, Value] = {}
        self._opsets = {imported.domain: imported.version for imported in model.opset_import}
        shaped = (*model.graph.value_info, *model.graph.output) if inferred else ()
        self._inferred = {info.name: _dims(info) for info in shaped}

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
                    made = apply(seen)
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


def _dims(info: Any) -> tuple[Size | None, ...] | None:
    kind = info.type.tensor_type
    if not info.type.HasField("tensor_type") or not kind.HasField("shape"):
        return None
    return tuple(Size(d.dim_value) if d.HasField("dim_value") else None for d in kind.shape.dim)


def _name(node: Any) -> str:
    return str(node.name or next(iter(node.output), ""))[:80]
