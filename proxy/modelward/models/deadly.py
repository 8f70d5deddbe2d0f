"""Where a client can end the process by the values that it sends: operators of ONNX Runtime that do not survive some.

Found by running the operators of ONNX, and those of com.microsoft that run on a CPU, on hostile values, with ONNX
Runtime 1.32. No such list is complete. It is there so that operators know which models to mend; a death is contained
whatever it came of (modelward.server.containment).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from msgspec import Struct, field
from onnx import TensorProto, helper, numpy_helper

from modelward.models.cost import SHAPES
from modelward.models.rows.skeleton import skeleton
from modelward.models.rows.values import NotShown

log = logging.getLogger("modelward.models")

SMALLEST = {TensorProto.INT32: np.iinfo(np.int32).min, TensorProto.INT64: np.iinfo(np.int64).min}
# a Cast of the first is never negative, one of the others not the smallest INT64
UNSIGNED = {TensorProto.BOOL, TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32}
NARROW = {TensorProto.INT8, TensorProto.INT16, TensorProto.INT32}
# what gives elements of its first input, or of all, and no others
VIEWS = frozenset(["Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Tile", "Transpose"]) | {
    "Unsqueeze"
}
JOINS = frozenset({"Concat"})
COUNTS = SHAPES | {"ArgMax", "ArgMin", "NonZero"}


class Finding(Struct, frozen=True):
    """A node that some values of the model's inputs make deadly. output: its first. datatype: of a division, else 0."""

    output: str
    words: str
    datatype: int = 0


def deadly(model: Any) -> tuple[Finding, ...]:
    """Of a ModelProto, and of its functions where they are called."""
    operators = {node.op_type for body in (model.graph, *model.functions) for node in _nodes(body)}
    if not operators & DANGERS.keys():
        return ()
    try:
        graph = skeleton(model).graph
        walk = _Walk({value.name: value.name for value in graph.input})
        return tuple(walk.follow(graph))
    except NotShown:
        return ()
    except Exception as error:
        # it contradicts itself: the runtime has the last word
        log.debug("what a graph may die of was not found", exc_info=error)
        return ()


def _nodes(body: Any) -> Iterator[Any]:
    for node in body.node:
        yield node
        for attribute in node.attribute:
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _nodes(graph)


class _Walk(Struct):
    """What is known of the tensors of a graph, and of those around it, by name.

    given: the input that its values come from. constants: small ones. positive: it holds nothing below 0. narrow:
    nothing as small as its datatype has.
    """

    given: dict[str, str] = field(default_factory=dict)
    types: dict[str, int] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)
    positive: set[str] = field(default_factory=set)
    narrow: set[str] = field(default_factory=set)

    def follow(self, graph: Any, source: str = "") -> Iterator[Finding]:
        """source: of an inner graph, the input that values come from which its node is given; "" for none."""
        for info in (*graph.input, *graph.value_info, *graph.output):
            if info.type.HasField("tensor_type"):
                self.types[info.name] = info.type.tensor_type.elem_type
        for tensor in graph.initializer:
            self.types[tensor.name] = tensor.data_type
            self._keep(tensor.name, _array(tensor))
        if source:
            self.given.update((info.name, source) for info in graph.input)
        for node in graph.node:
            yield from self._node(node)

    def _keep(self, name: str, value: Any) -> None:
        self.constants[name] = value if value is not None and value.dtype.kind in "biuf" else None

    def _node(self, node: Any) -> Iterator[Finding]:
        source = next((self.given[name] for name in node.input if name in self.given), "")
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from self.follow(attribute.g, source)
                source = source or next((self.given[o.name] for o in attribute.g.output if o.name in self.given), "")
            elif node.op_type == "Constant" and attribute.name in {"value", "value_int", "value_ints"}:
                value = helper.get_attribute_value(attribute)
                self._keep(node.output[0], _array(value) if attribute.name == "value" else np.asarray(value))
        if (danger := DANGERS.get(node.op_type)) is not None and (how := danger(self, node)):
            words = f"node '{(node.name or node.output[0])[:80]}' ({node.op_type}): {how}"
            yield Finding(node.output[0], words, self.datatype(node) if node.op_type == "Div" else 0)
        if source and node.op_type not in SHAPES:
            self.given.update(dict.fromkeys(node.output, source))
        self._bound(node)

    def _bound(self, node: Any) -> None:
        """What is known of how small the numbers of its outputs are."""
        first, name = next(iter(node.input), ""), node.op_type
        if name in VIEWS or name in JOINS:
            of = [each for each in (node.input if name in JOINS else [first]) if each]
            for known in (self.positive, self.narrow):
                if all(each in known for each in of):
                    known.update(node.output)
        elif name in COUNTS or (name == "Cast" and self.types.get(first) in UNSIGNED) or self._is_raised(node):
            self.positive.update(node.output)
        elif name == "Cast" and self.types.get(first) in NARROW and self.types.get(node.output[0]) == TensorProto.INT64:
            self.narrow.update(node.output)

    def _is_raised(self, node: Any) -> bool:
        """Max or Clip with a constant of at least 0, or Relu."""
        bounds = {"Max": list(node.input), "Clip": list(node.input[1:2])}.get(node.op_type, [])
        values = [self.constants.get(name) for name in bounds]
        return node.op_type == "Relu" or any(each is not None and each.size and each.min() >= 0 for each in values)

    def datatype(self, node: Any) -> int:
        """Of its inputs and outputs, which have one; 0 where that is not known."""
        return next((self.types[name] for name in (*node.input, *node.output) if name in self.types), 0)

    def may_hold(self, name: str, value: int) -> bool:
        """Whether a constant does, or a client can choose it. Of what is computed of constants alone: no."""
        if name in self.constants:
            constant = self.constants[name]
            return constant is not None and bool((constant == value).any())
        return name in self.given and name not in self.positive


def _array(tensor: Any) -> Any:
    """None where it was too large to be looked at."""
    return None if tensor.data_location == TensorProto.EXTERNAL else numpy_helper.to_array(tensor)


def _division(walk: _Walk, node: Any) -> str:
    """The processor traps where the result is larger than the largest whole number. ONNX Runtime refuses 0."""
    if len(node.input) < 2:
        return ""
    dividend, divisor = node.input[0], node.input[1]
    smallest = SMALLEST.get(walk.datatype(node))
    sources = [walk.given[name] for name in (dividend, divisor) if name in walk.given]
    if smallest is None or not sources or dividend in walk.narrow:
        return ""
    if not (walk.may_hold(dividend, smallest) and walk.may_hold(divisor, -1)):
        return ""
    return f"{smallest} divided by -1, which {_named(sources)} can bring about"


def _short_time_fourier(walk: _Walk, node: Any) -> str:
    """Without a window it divides by the length of a frame."""
    if len(node.input) < 4 or node.input[2] or node.input[3] not in walk.given:
        return ""
    return f"frames of length 0, which {_named([walk.given[node.input[3]]])} can bring about"


def _named(inputs: list[str]) -> str:
    names = [f"'{name[:80]}'" for name in dict.fromkeys(inputs)]
    return f"input{'s' if len(names) > 1 else ''} {' and '.join(names)}"


DANGERS: dict[str, Callable[[_Walk, Any], str]] = {"Div": _division, "STFT": _short_time_fourier}
