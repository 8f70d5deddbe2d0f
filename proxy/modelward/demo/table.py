"""The bundled model and the table it was trained on; README.md beside them tells where they come from."""

from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct

MODEL_FILE = "breast_cancer.onnx"
TABLE_FILE = "breast_cancer.npz"

Row = npt.NDArray[np.float32]


class Table(Struct, frozen=True):
    """rows (569, 30) float32; truth (569,): the index into `classes` of each row; features: the name of each column."""

    rows: npt.NDArray[np.float32]
    truth: npt.NDArray[np.uint8]
    features: tuple[str, ...]
    classes: tuple[str, ...]

    def changed(self, row: Row, factors: dict[str, float]) -> Row:
        """A copy of a row with some features multiplied."""
        copy = row.copy()
        for name, factor in factors.items():
            copy[self.features.index(name)] *= factor
        return copy


def load_table() -> Table:
    with resources.as_file(resources.files(__package__) / TABLE_FILE) as file, np.load(file) as arrays:
        return Table(arrays["rows"], arrays["truth"], _names(arrays["features"]), _names(arrays["classes"]))


def model_bytes() -> bytes:
    return (resources.files(__package__) / MODEL_FILE).read_bytes()


def _names(array: npt.NDArray[Any]) -> tuple[str, ...]:
    return tuple(str(name) for name in array)
