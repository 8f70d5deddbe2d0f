"""Whether opening a model, or its first run, may take any time or memory, whatever the size of its file.

ONNX Runtime computes what depends on constants alone when a model is opened. A file of a few bytes can so make it write
terabytes, which no deadline stops: the kernel ends the process first. Such a model is opened in a child process before.
"""

from typing import Any

from modelward.models.cost import CONTROL_FLOW, SHAPES, SIZED_BY
from modelward.models.operators import graphs_of

# what makes no more of constants than they are, of whatever it is given
NO_LARGER = frozenset(
    """
    Abs Cast Ceil Clip Concat Constant Cos DequantizeLinear Equal Erf Exp Flatten Floor Gather Greater Identity Less
    Log Neg Not QuantizeLinear Reciprocal ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu Reshape Round Shape
    Sigmoid Sign Sin Size Slice Split Sqrt Squeeze Tanh Transpose Unsqueeze
    """.split()  # noqa: SIM905 - a line of each would be a page
)
SAME_SIZE = (NO_LARGER - {"Concat", "Gather"}) | {"MatMul", "Gemm", "Add", "Sub", "Mul", "Div"}


def costly(model: Any) -> str:
    """The operator of a ModelProto for which it is opened in a child process first, or ""."""
    bodies = [model.graph, *model.functions]
    for node in (node for body in bodies for graph in graphs_of(body) for node in graph.node):
        if node.op_type in SIZED_BY or (node.op_type in CONTROL_FLOW and _grows(node)):
            return str(node.op_type)
    constants = {tensor.name for tensor in model.graph.initializer}
    scalars = {tensor.name for tensor in model.graph.initializer if all(size == 1 for size in tensor.dims)}
    for node in model.graph.node:
        is_constant = node.op_type in SHAPES or all(name in constants for name in node.input if name)
        if not is_constant:
            continue
        grows = node.op_type not in NO_LARGER and not _by_one(node, scalars)
        if grows:
            return str(node.op_type)
        constants.update(node.output)
    return ""


def _grows(node: Any) -> bool:
    """Whether control flow may gather more with each round; its branches and bodies are looked at by themselves."""
    if node.op_type == "If":
        return False
    bodies = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    if node.op_type != "Loop" or len(bodies) != 1:
        return True
    has_piles = len(bodies[0].output) > 1 + max(0, len(node.input) - 2)
    return has_piles or any(inner.op_type not in SAME_SIZE for inner in bodies[0].node)


def _by_one(node: Any, scalars: set[str]) -> bool:
    """Each element of one constant, and a single number."""
    return len(node.input) <= 2 and sum(name not in scalars for name in node.input) <= 1
