"""Whether the time of a run follows from the size of its inputs.

Where it follows from their values, one small request may cost any amount: such a model runs in a thread of its own,
whatever has been measured. Two things make it so: control flow (a loop's trip count, a branch that was never measured),
and operators whose output is as large as one of their inputs says. Values taken from shapes are bounded by the
request's bytes and do no harm.
"""

from typing import Any

from modelward.models.operators import graphs_of

CONTROL_FLOW = frozenset({"Loop", "Scan", "If", "BeamSearch", "GreedySearch", "Sampling", "WhisperBeamSearch"})

# operator -> positions of the inputs that say how large its output is
SIZED_BY = {
    "Range": (0, 1, 2),
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "Tile": (1, 2),
    "Resize": (1, 2, 3),
    "Upsample": (1,),
    "Pad": (1,),
    "CenterCropPad": (1,),
    "OneHot": (1,),
    "NonMaxSuppression": (2,),
    "MaxUnpool": (2,),
    "DFT": (1,),
    "STFT": (1, 3),
    "HannWindow": (0,),
    "HammingWindow": (0,),
    "BlackmanWindow": (0,),
    "MelWeightMatrix": (0, 1, 2, 3, 4),
}
SHAPES = frozenset({"Shape", "Size"})


def unpredictable(model: Any) -> str:
    """The operator of a ModelProto that makes its time depend on the values of its inputs, or ""."""
    for body in (model.graph, *model.functions):
        for graph in graphs_of(body):
            for node in graph.node:
                if node.op_type in CONTROL_FLOW:
                    return str(node.op_type)
    for function in model.functions:  # what they are called with is not followed
        for node in function.node:
            if node.op_type in SIZED_BY:
                return str(node.op_type)
    constants = {tensor.name for tensor in model.graph.initializer}
    given = {value.name for value in model.graph.input} - constants
    for node in model.graph.node:  # in topological order, as ONNX demands
        if any(node.input[i] in given for i in SIZED_BY.get(node.op_type, ()) if i < len(node.input)):
            return str(node.op_type)
        if node.op_type not in SHAPES and any(name in given for name in node.input):
            given.update(node.output)
    return ""
