"""Inputs and outputs of models in the protocol's terms."""

from typing import Literal, get_args

from msgspec import Struct

Datatype = Literal[
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "BF16",
    "FP32",
    "FP64",
    "BYTES",
]
DATATYPES: tuple[Datatype, ...] = get_args(Datatype)

# MW_MAX_TENSORS and MW_MAX_RANK of modelward_native/request/tensor.h, which the scanner holds requests to.
MOST_TENSORS = 256
HIGHEST_RANK = 16


class TensorSpec(Struct, frozen=True):
    """One input or output. datatype: the protocol's name. shape: -1 for a dynamic axis.

    symbols: for each axis the name that the model gives it ("batch"), None where it is fixed or nameless.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    symbols: tuple[str | None, ...]

    def __str__(self) -> str:
        axes = ", ".join(s or str(d) for d, s in zip(self.shape, self.symbols, strict=True))
        return f"{self.name} {self.datatype} [{axes}]"

    def fits(self, other: "TensorSpec") -> bool:
        """The same datatype, and no fixed dimension that differs."""
        return (
            self.datatype == other.datatype
            and len(self.shape) == len(other.shape)
            and all(a == b or -1 in (a, b) for a, b in zip(self.shape, other.shape, strict=True))
        )


def difference_between(ours: tuple[TensorSpec, ...], theirs: tuple[TensorSpec, ...]) -> str:
    """The first tensor that one has and the other lacks or shapes otherwise; a dynamic axis fits any other."""
    known = {spec.name: spec for spec in theirs}
    for spec in ours:
        other = known.pop(spec.name, None)
        if other is None:
            return f"it has no {spec.name}"
        if not spec.fits(other):
            return f"{spec} here, {other} there"
    return f"it also has {next(iter(known))}" if known else ""


def has_batch_axis(specs: tuple[TensorSpec, ...]) -> bool:
    """Whether the first axis of all of them is open, and so counts rows."""
    return all(spec.shape[:1] == (-1,) for spec in specs)


def row_signature(inputs: tuple[TensorSpec, ...]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Input name -> (datatype, shape of one row), the form in which `modelward.score` takes a model.

    Without a batch axis a request is one row, whole; a leading 1 is left out, since it adds no element.
    """
    batched = has_batch_axis(inputs)
    return {
        spec.name: (spec.datatype, spec.shape[1:] if batched or spec.shape[:1] == (1,) else spec.shape)
        for spec in inputs
    }
