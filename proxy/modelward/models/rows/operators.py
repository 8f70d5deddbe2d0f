"""What each operator of ONNX does to the axis that counts rows (modelward.models.rows)."""

from __future__ import annotations

import contextlib

from modelward.models.rows.moves import MOVES
from modelward.models.rows.products import einsum, gemm, matmul, recurrent
from modelward.models.rows.rules import (
    ALONG,
    COUNTS,
    PLACES,
    Rule,
    elementwise,
    is_rows,
    outputs_of,
    product,
    reduced,
    rest_apart,
    rows_of,
    with_rows,
)
from modelward.models.rows.sizes import SIZES
from modelward.models.rows.values import MIXED, ONE, ROWS, Node, NotShown, Size, Value

SHAPES = {**MOVES, **SIZES}


def apply(node: Node) -> list[Value]:
    """Of its outputs. Raises NotShown."""
    name = node.proto.op_type
    if any(attribute.HasField("g") for attribute in node.proto.attribute):
        raise NotShown("what it contains is not followed")
    if all(value.is_apart for value in node.inputs if value is not None):
        with contextlib.suppress(NotShown):
            return SHAPES[name](node) if name in SHAPES else [Value(dims) for dims in outputs_of(node)]
        return [Value(dims) for dims in outputs_of(node)]
    rule = SHAPES.get(name) or RULES.get(name)
    if rule is not None:
        return rule(node)
    if name in ELEMENTWISE:
        return elementwise(node)
    if name in BATCH_FIRST:
        return _batch_first(node)
    raise NotShown("it is not known to keep rows apart")


def _batch_first(node: Node) -> list[Value]:
    """Rows are the first axis of the first input, or of several, and of all outputs."""
    for value in node.inputs:
        if value is not None and (value.axis != 0 or value.outer != ONE or value.rank < 2):
            raise NotShown(PLACES if value.axis is not None or value.is_apart else COUNTS)
    return [with_rows(dims) for dims in outputs_of(node)]


def _first_input(node: Node) -> list[Value]:
    """As _batch_first, but weights may not be rows."""
    value, axis = rows_of(node)
    rest_apart(node, 0)
    if axis != 0 or value.rank < 2:  # one dimension is one row to some of them
        raise NotShown(PLACES)
    name, rank = node.proto.op_type, value.rank
    ranks = next((ranks for ending, ranks in RANKS.items() if name.endswith(ending)), (rank,) * 5)
    inferred = [dims or (None,) * ranks[i] for i, dims in enumerate(outputs_of(node))]
    made = [with_rows(dims) for dims in inferred]
    return [Value(v.dims and (node.given(0).dims or (ROWS,))[:1] + v.dims[1:], 0, node.given(0).outer) for v in made]


# ---- along axes


def _reduce(node: Node) -> list[Value]:
    value, at = rows_of(node)
    axes = node.attribute("axes")
    if axes is None and node.has(1):
        axes = node.numbers(1)
    if not axes:
        if node.attribute("noop_with_empty_axes", 0):
            return [value]
        raise NotShown(ALONG)
    gone = {node.along(axis, value) for axis in axes}
    if at in gone:
        raise NotShown(ALONG)
    return [reduced(value, at, gone, keep=bool(node.attribute("keepdims", 1)))]


def _quantized(node: Node) -> list[Value]:
    """With a scale for all, or for each place along an axis."""
    value, at = rows_of(node)
    rest_apart(node, 0)
    scale = node.given(1)
    if scale.rank > 1 or (scale.dims not in {(), (ONE,)} and node.along(node.attribute("axis", 1), value) == at):
        raise NotShown("it joins rows with a constant that has its own")
    return [value]


def _one_axis(default: int) -> Rule:
    """Works along one axis; all else stays."""

    def rule(node: Node) -> list[Value]:
        value, at = rows_of(node)
        rest_apart(node, 0)
        if node.along(node.attribute("axis", default), value) == at:
            raise NotShown(ALONG)
        return [value for _ in node.proto.output]

    return rule


def _softmax(node: Node) -> list[Value]:
    if node.opset >= 13:
        return _one_axis(-1)(node)
    value, at = rows_of(node)
    if node.along(node.attribute("axis", 1), value) <= at:
        raise NotShown(ALONG)
    return [value]


def _arg(node: Node) -> list[Value]:
    value, at = rows_of(node)
    axis = node.along(node.attribute("axis", 0), value)
    if axis == at:
        raise NotShown(ALONG)
    return [reduced(value, at, {axis}, keep=bool(node.attribute("keepdims", 1)))]


def _top_k(node: Node) -> list[Value]:
    (value, *_), (_, at) = _one_axis(-1)(node), rows_of(node)
    axis = node.along(node.attribute("axis", -1), value)
    dims = tuple(None if i == axis else d for i, d in enumerate(value.dims or ()))
    return [Value(dims, at, value.outer)] * 2


def _cumsum(node: Node) -> list[Value]:
    value, at = rows_of(node)
    if any(node.along(axis, value) == at for axis in node.numbers(1)):
        raise NotShown(ALONG)
    return [value]


def _from_axis(default: int) -> Rule:
    """Normalises over an axis and all that follow."""

    def rule(node: Node) -> list[Value]:
        value, at = rows_of(node)
        rest_apart(node, 0)
        if node.along(node.attribute("axis", default), value) <= at:
            raise NotShown(ALONG)
        return [value, Value(None, at, value.outer), Value(None, at, value.outer)]

    return rule


def _batch_norm(node: Node) -> list[Value]:
    value, at = rows_of(node)
    rest_apart(node, 0)
    if at == 1 or node.attribute("training_mode", 0):
        raise NotShown(ALONG)
    return [value]


def _transpose(node: Node) -> list[Value]:
    value, at = rows_of(node)
    order = node.attribute("perm") or list(range(value.rank))[::-1]
    return [Value(tuple((value.dims or ())[i] for i in order), list(order).index(at), value.outer)]


def _flatten(node: Node) -> list[Value]:
    value, at = rows_of(node)
    axis = node.along(node.attribute("axis", 1), value)
    dims = value.dims or ()
    first, second = product(dims[:axis]), product(dims[axis:])
    if at >= axis or first is None:
        raise NotShown(ALONG)
    before = product(dims[:at]) or ONE
    return [Value((first, second), 0, before.times(value.outer))]


def _split(node: Node) -> list[Value]:
    value, at = rows_of(node)
    axis = node.along(node.attribute("axis", 0), value)
    if axis == at:
        raise NotShown(ALONG)
    sizes: list[Size | None] = [None] * len(node.proto.output)
    given = node.attribute("split") or (node.numbers(1) if node.has(1) else None)
    whole = (value.dims or ())[axis]
    if given:
        sizes = [Size(size) for size in given]
    elif whole is not None and whole.number % len(sizes) == 0:
        sizes = [Size(whole.number // len(sizes), whole.names)] * len(sizes)
    dims = value.dims or ()
    return [Value((*dims[:axis], size, *dims[axis + 1 :]), at, value.outer) for size in sizes]


def _gather_elements(node: Node) -> list[Value]:
    (data, at), (index, other) = rows_of(node), rows_of(node, 1)
    if (at, data.outer) != (other, index.outer) or node.along(node.attribute("axis", 0), data) == at:
        raise NotShown(ALONG)
    return [index]


def _one_hot(node: Node) -> list[Value]:
    value, at = rows_of(node)
    rest_apart(node, 0)
    axis = node.attribute("axis", -1)
    axis = axis + value.rank + 1 if axis < 0 else axis
    dims = value.dims or ()
    depth = node.dims[0][axis] if node.dims[0] is not None and axis < len(node.dims[0]) else None
    return [Value((*dims[:axis], depth, *dims[axis:]), at if axis > at else at + 1, value.outer)]


def _pad(node: Node) -> list[Value]:
    value, at = rows_of(node)
    rest_apart(node, 0)
    pads = list(node.attribute("pads") or node.numbers(1))
    axes = [node.along(a, value) for a in node.numbers(3)] if node.has(3) else [*range(value.rank)]
    if at in axes and (pads[axes.index(at)] or pads[axes.index(at) + len(axes)]):
        raise NotShown(ALONG)
    inferred = node.dims[0] or (None,) * value.rank
    return [Value((*inferred[:at], (value.dims or ())[at], *inferred[at + 1 :]), at, value.outer)]


def _tile(node: Node) -> list[Value]:
    value, at = rows_of(node)
    repeats = node.numbers(1)
    if repeats[at] != 1:
        raise NotShown(ALONG)
    dims = tuple(d and d.times(Size(r)) for d, r in zip(value.dims or (), repeats, strict=True))
    return [Value(dims, at, value.outer)]


def _resize(node: Node) -> list[Value]:
    value, at = rows_of(node)
    if at != 0 or node.attribute("axes") is not None:
        raise NotShown("how it works on rows is not followed")
    rest_apart(node, 0, 3)
    if node.has(3):
        sizes = node.given(3).small
        if sizes is None or sizes[0] != ROWS or any(is_rows(e) or e == MIXED for e in sizes[1:]):
            raise NotShown("the size that it makes is not known")
    elif (node.given(2 if len(node.inputs) > 2 else 1).small or ())[:1] != (ONE,):
        raise NotShown(ALONG)
    return [with_rows(node.dims[0] or (None,) * value.rank)]


def _feature_extractor(node: Node) -> list[Value]:
    data, index = node.given(0), node.given(1)
    if data.axis is not None:
        rest_apart(node, 0)
        if data.axis == data.rank - 1:
            raise NotShown(ALONG)
        return [Value((*(data.dims or ())[:-1], None), data.axis, data.outer)]
    if index.axis != 0 or data.rank != 1:
        raise NotShown(PLACES)
    return [Value((ONE, product(index.dims or (None,))), 1, index.outer)]


_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")


RULES: dict[str, Rule] = {
    **{f"Reduce{name}": _reduce for name in _REDUCTIONS},
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), _softmax),
    **dict.fromkeys(("ArgMax", "ArgMin"), _arg),
    "TopK": _top_k,
    "CumSum": _cumsum,
    "LpNormalization": _one_axis(-1),
    **dict.fromkeys(("LayerNormalization", "SimplifiedLayerNormalization", "RMSNormalization"), _from_axis(-1)),
    "BatchNormalization": _batch_norm,
    **dict.fromkeys(("MatMul", "MatMulInteger"), matmul),
    "Gemm": gemm,
    "Einsum": einsum,
    **dict.fromkeys(("LSTM", "GRU", "RNN"), recurrent),
    "Transpose": _transpose,
    "Flatten": _flatten,
    "Split": _split,
    "GatherElements": _gather_elements,
    "OneHot": _one_hot,
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), _quantized),
    "Pad": _pad,
    "Tile": _tile,
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    "ArrayFeatureExtractor": _feature_extractor,
}


for _name in (
    *("Conv", "ConvTranspose", "ConvInteger", "MaxPool", "AveragePool", "LpPool", "GlobalMaxPool", "GlobalAveragePool"),
    *("GlobalLpPool", "InstanceNormalization", "GroupNormalization", "LRN", "DepthToSpace", "SpaceToDepth"),
    *("TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor", "LinearClassifier", "LinearRegressor"),
    *(
        "SVMClassifier",
        "SVMRegressor",
        "CDist",
        "Scaler",
        "Imputer",
        "Normalizer",
        "OneHotEncoder",
        "QLinearConv",
        "TfIdfVectorizer",
    ),
):
    RULES[_name] = _first_input


# of their outputs, by how they are called; those of all others have the input's
RANKS = {"Classifier": (1, 2), "Regressor": (2,), "TreeEnsemble": (2,), "OneHotEncoder": (3,), "CDist": (2,)}


BATCH_FIRST = frozenset({"FeatureVectorizer"})


ELEMENTWISE = frozenset(
    """
    Abs Acos Acosh And Asin Asinh Atan Atanh BiasGelu Binarizer BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor
    CategoryMapper Ceil Celu Clip Cos Cosh Dropout Elu Erf Exp FastGelu Floor Gelu Greater GreaterOrEqual HardSigmoid
    HardSwish IsInf IsNaN LabelEncoder LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Neg Not Or PRelu Pow
    QuickGelu Reciprocal RegexFullMatch Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt
    StringConcat Sum Swish Tan Tanh ThresholdedRelu Xor
    """.split()  # noqa: SIM905 - a line of each would be a page
)
