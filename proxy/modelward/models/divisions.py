"""Whole-number divisions at which a client could make the processor trap, given operands at which it does not.

It traps where the smallest number is divided by -1. Dividing by -1 is negation, so there the node divides the negated
number by 1: the result is the same, and of the smallest number it is that number again, as whole numbers wrap around.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from onnx import helper

from modelward.models.operators import graphs_of

log = logging.getLogger("modelward.models")

ONNX = ("", "ai.onnx")
OLDEST_OPSET = 9  # that has Where


def guard(model: Any, divisions: Mapping[str, int]) -> frozenset[str]:
    """Changes the Div nodes of a ModelProto that have these outputs, with their datatypes. Returns those that it has
    changed. Not those of functions: what they divide depends on where they are called."""
    opset = max((each.version for each in model.opset_import if each.domain in ONNX), default=0)
    changed: set[str] = set()
    for graph in graphs_of(model.graph) if divisions and opset >= OLDEST_OPSET else ():
        found = {name for node in graph.node if (name := _output(node)) in divisions}
        if not found:
            continue
        nodes = list(graph.node)
        graph.ClearField("node")
        for node in nodes:
            name = _output(node)
            if name in found:
                log.info("node '%s' (Div) is given operands at which the processor does not trap", node.name or name)
                graph.node.extend(_operands(node, divisions[name]))
            graph.node.append(node)
        changed |= found
    return frozenset(changed)


def _output(node: Any) -> str:
    """Of a division, else ""."""
    is_division = node.op_type == "Div" and node.domain in ONNX and len(node.input) == 2
    return str(node.output[0]) if is_division else ""


def _operands(node: Any, datatype: int) -> Iterator[Any]:
    """Nodes that go before it. Its own inputs are theirs then."""
    dividend, divisor = node.input
    one, minus, is_minus, negated, other, by = (f"{node.output[0]}/modelward/{i}" for i in range(6))
    for name, number in ((one, 1), (minus, -1)):
        yield helper.make_node("Constant", [], [name], value=helper.make_tensor(name, datatype, [], [number]))
    yield helper.make_node("Equal", [divisor, minus], [is_minus])
    yield helper.make_node("Neg", [dividend], [negated])
    yield helper.make_node("Where", [is_minus, negated, dividend], [other])
    yield helper.make_node("Where", [is_minus, one, divisor], [by])
    node.input[:] = [other, by]
