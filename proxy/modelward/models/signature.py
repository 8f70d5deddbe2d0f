"""Inputs and outputs of a model in the protocol's terms, read from what its graph declares."""

from typing import Any

from onnx import TensorProto, shape_inference

from modelward.model_names import LONGEST_NAME
from modelward.problem import Problem
from modelward.tensors import DATATYPES, HIGHEST_RANK, MOST_TENSORS, TensorSpec

_DATATYPES: dict[int, str] = dict(
    zip(
        (
            TensorProto.BOOL,
            TensorProto.UINT8,
            TensorProto.UINT16,
            TensorProto.UINT32,
            TensorProto.UINT64,
            TensorProto.INT8,
            TensorProto.INT16,
            TensorProto.INT32,
            TensorProto.INT64,
            TensorProto.FLOAT16,
            TensorProto.BFLOAT16,
            TensorProto.FLOAT,
            TensorProto.DOUBLE,
            TensorProto.STRING,
        ),
        DATATYPES,
        strict=True,
    )
)


_KINDS = {
    "sequence_type": "a sequence",
    "map_type": "a map",
    "optional_type": "an optional",
    "sparse_tensor_type": "a sparse tensor",
    "opaque_type": "an opaque value",
}
_PLURALS = {"tensor_type": "tensors", "map_type": "maps", "sequence_type": "sequences", "optional_type": "optionals"}


Signature = tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]


def read_signature(model: Any, where: str, problems: list[Problem]) -> Signature:
    """(inputs, outputs) of a ModelProto; appends what the protocol cannot carry to `problems`.

    An input that has an initializer is a constant with a default, not something that a request must bring.
    """
    graph = model.graph
    constants = {t.name for t in graph.initializer} | {t.values.name for t in graph.sparse_initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    outputs = list(graph.output)
    for kind, values in (("input", inputs), ("output", outputs)):
        if not 1 <= len(values) <= MOST_TENSORS:
            how = f"Models have 1 to {MOST_TENSORS} {kind}s"
            problems.append(Problem(f"the model has {len(values)} {kind}s", where, how=how))
    # shapes of functions that call each other in a circle are inferred without end
    if not problems and any(
        value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape") for value in outputs
    ):
        outputs = _with_inferred_shapes(model)
    return _specs("input", inputs, where, problems), _specs("output", outputs, where, problems)


def _with_inferred_shapes(model: Any) -> list[Any]:
    """The outputs with the shapes that follow from the graph, where it declares none; costs a pass over the graph."""
    try:
        return list(shape_inference.infer_shapes(model).graph.output)
    except (RuntimeError, ValueError):  # the graph contradicts itself; what it declares is reported as it is
        return list(model.graph.output)


def _specs(kind: str, values: list[Any], where: str, problems: list[Problem]) -> tuple[TensorSpec, ...]:
    specs: dict[str, TensorSpec] = {}
    for value in values[:MOST_TENSORS]:
        spec = _spec(kind, value, where, problems)
        if spec is None:
            continue
        if spec.name in specs:
            problems.append(Problem(f"two {kind}s are called {spec.name!r}", where, how="Rename one of them"))
        specs[spec.name] = spec
    return tuple(specs.values())


def _spec(kind: str, value: Any, where: str, problems: list[Problem]) -> TensorSpec | None:
    name = value.name
    what = f"{kind} {name[:LONGEST_NAME]!r}"

    def refuse(finding: str, how: str) -> TensorSpec | None:
        problems.append(Problem(f"{what} {finding}", where, how=how))
        return None

    if not name or len(name) > 2 * LONGEST_NAME or not name.isprintable():
        return refuse("has no usable name", f"Names are 1 to {2 * LONGEST_NAME} printable characters")
    if not value.type.HasField("tensor_type"):
        how = "Export the classifier with zipmap=False" if _has_map(value.type) else "Let the model give plain tensors"
        return refuse(f"is {_kind(value.type)}, which the protocol has no tensor for", how)
    tensor = value.type.tensor_type
    datatype = _DATATYPES.get(tensor.elem_type)
    if datatype is None:
        known = TensorProto.DataType.values()
        element = TensorProto.DataType.Name(tensor.elem_type) if tensor.elem_type in known else tensor.elem_type
        return refuse(f"has datatype {element}, which the protocol lacks", f"Cast it to one of {_listed()}")
    if not tensor.HasField("shape"):
        return refuse("has no shape", "Export the model with the rank of its inputs and outputs declared")
    dimensions = tensor.shape.dim
    if len(dimensions) > HIGHEST_RANK:
        return refuse(f"has {len(dimensions)} dimensions", f"At most {HIGHEST_RANK} are served")
    shape = tuple(d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else -1 for d in dimensions)
    symbols = tuple(d.dim_param if d.dim_param.isprintable() and d.dim_param else None for d in dimensions)
    return TensorSpec(name, datatype, shape, symbols)


def _listed() -> str:
    return ", ".join(DATATYPES)


def _has_map(declared: Any) -> bool:
    if declared.HasField("sequence_type"):
        return bool(declared.sequence_type.elem_type.HasField("map_type"))
    return bool(declared.HasField("map_type"))


def _kind(declared: Any) -> str:
    kind = declared.WhichOneof("value")
    text = _KINDS.get(kind, "of no declared type")
    if kind in ("sequence_type", "optional_type"):
        element = getattr(declared, kind).elem_type.WhichOneof("value")
        if element in _PLURALS:
            text += f" of {_PLURALS[element]}"
    return text
