"""Which operators ONNX Runtime is known to run on tensors of no elements.

Of others some abort the process (GRU, LSTM, ConvTranspose, STFT, Unique) or never return (Conv whose kernel is empty).
A model that has one of those is tried first (models.trial). Those listed here have been run with every dimension
of every input set to 0, alone, by axis and together, on all node cases of the ONNX standard that have them.
"""

from typing import Any

from modelward.models.operators import graphs_of

_ELEMENTWISE = """
Abs Acos Acosh Add And Asin Asinh Atan Atanh BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BitShift Cast CastLike Ceil Celu
Clip Cos Cosh Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish IsInf IsNaN LeakyRelu Less
LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh
Softplus Softsign Sqrt Sub Sum Tan Tanh ThresholdedRelu Where Xor
"""
_SHAPES = """
Concat Constant ConstantOfShape DepthToSpace Expand Flatten Gather GatherElements GatherND Identity NonZero OneHot Pad
Range Reshape ScatterElements ScatterND Shape Size Slice SpaceToDepth Split Squeeze Tile Transpose Trilu Unsqueeze
"""
_REST = """
ArgMax ArgMin AveragePool BatchNormalization CumSum Dropout Einsum Gemm GlobalAveragePool GlobalMaxPool Hardmax
InstanceNormalization LayerNormalization LogSoftmax LpNormalization MatMul MatMulInteger MaxPool ReduceL1 ReduceL2
ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare RMSNormalization
Softmax TopK
"""
_ML = """
ArrayFeatureExtractor Binarizer FeatureVectorizer Imputer LabelEncoder LinearClassifier LinearRegressor Normalizer
OneHotEncoder Scaler SVMClassifier SVMRegressor TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor
"""
ONNX = ("", "ai.onnx")
BEARS_EMPTY = {(domain, name) for name in f"{_ELEMENTWISE} {_SHAPES} {_REST}".split() for domain in ONNX}
BEARS_EMPTY |= {("ai.onnx.ml", name) for name in _ML.split()}
# operator -> the input that must be the model's own: a dimension of it is never 0
BEARS_EMPTY_WITH = {"Conv": 1}


def unproven(model: Any) -> str:
    """An operator of a ModelProto that is not known to bear tensors of no elements, or ""."""
    constants = {tensor.name for tensor in model.graph.initializer}
    own_functions = {(function.domain, function.name) for function in model.functions}  # looked at by themselves
    for body in (model.graph, *model.functions):
        for graph in graphs_of(body):
            for node in graph.node:
                own = BEARS_EMPTY_WITH.get(node.op_type) if node.domain in ONNX else None
                if own is not None and len(node.input) > own and node.input[own] in constants:
                    continue
                if (node.domain, node.op_type) not in BEARS_EMPTY | own_functions:
                    return str(node.op_type)
    return ""
