"""A model without its weights, for what is found in its graph alone."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import shape_inference

from modelward.models.rows.values import LARGEST_KEPT, NotShown

MOST_NODES = 50_000


def skeleton(model: Any) -> Any:
    """The model without its weights, with functions expanded and the shapes that can be inferred.

    The first inference of a process loads the schemas of all operators, 9 MB, for good: ask `bare` where that will do.
    """
    small = bare(model)
    try:
        if small.functions:
            from onnx import inliner  # noqa: PLC0415 - only where there are functions

            small = inliner.inline_local_functions(small)
        return shape_inference.infer_shapes(small)
    except Exception as error:  # noqa: BLE001 - the library's errors share no base class of their own
        raise NotShown(f"its shapes contradict each other: {str(error)[:100]}") from None


def bare(model: Any) -> Any:
    """The model without its weights, with its functions as they are and no shapes but those that it declares."""
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
    return small


def _leave_out(tensor: Any, kept: Any) -> None:
    """A TensorProto with another's shape, and none of its data."""
    kept.name, kept.data_type, kept.data_location = tensor.name, tensor.data_type, onnx.TensorProto.EXTERNAL
    kept.dims.extend(tensor.dims)
    kept.external_data.add(key="location", value="left-out")
