from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

NOT_A_NUMBER: Final[int]
OUT_OF_RANGE: Final[int]
UNKNOWN_CATEGORY: Final[int]
LIMIT: Final[float]
EXPLAINED: Final[int]
VALUES: Final[int]
BLOCKS: Final[int]
VARYING: Final[int]
CATEGORIES: Final[int]
WORDS: Final[int]
MAX_VALUES: Final[int]
FIXED_BLOCKS: Final[int]
VARYING_BLOCKS: Final[int]
MAX_INPUTS: Final[int]
MAX_CELLS: Final[int]
MAX_PROTOTYPES: Final[int]
NEIGHBOURS: Final[int]
KNOTS: Final[int]
CLIP: Final[float]

Measured: TypeAlias = tuple[
    npt.NDArray[np.float64],
    npt.NDArray[np.float64],
    npt.NDArray[np.uint32],
    npt.NDArray[np.int32],
    npt.NDArray[np.int32],
]

def input_type() -> np.dtype[np.void]: ...
def use_instructions(name: str) -> None: ...

class Kernel:
    def __init__(
        self,
        *,
        inputs: npt.NDArray[np.void],
        mean: npt.NDArray[np.float64],
        scale: npt.NDArray[np.float64],
        low: npt.NDArray[np.floating[Any]],
        high: npt.NDArray[np.floating[Any]],
        views: tuple[npt.NDArray[np.float32], ...] | None,
        means: npt.NDArray[np.float32],
        radius: npt.NDArray[np.float32],
        first: npt.NDArray[np.integer[Any]],
        prototypes: npt.NDArray[np.float32],
        counts: npt.NDArray[np.integer[Any]],
        weights: npt.NDArray[np.float64],
        knot_score: npt.NDArray[np.float64],
        knot_p: npt.NDArray[np.float64],
        tail_index: float,
        text: npt.NDArray[np.uint8],
        words: npt.NDArray[np.uint64],
        column_words: npt.NDArray[np.int64],
        is_open: npt.NDArray[np.uint8],
    ) -> None: ...
    @property
    def features(self) -> int: ...
    @property
    def columns(self) -> int: ...
    def measure(self, features: npt.ArrayLike, unknown: npt.ArrayLike | None = None) -> Measured: ...
    def measure_tensors(self, tensors: Sequence[tuple[str, bytes, int]], rows: int) -> Measured: ...
    def explain(
        self, features: npt.ArrayLike, unknown: npt.ArrayLike | None = None
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]: ...
    def p_values(self, scores: npt.ArrayLike) -> npt.NDArray[np.float64]: ...
