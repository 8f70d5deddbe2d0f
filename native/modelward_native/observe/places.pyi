from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

NONE: int
OTHERWISE: int
PLACE: tuple[tuple[str, str], ...]

class Places:
    def __init__(self, tensors: Sequence[tuple[str, str]], *, outputs: bool, batched: bool) -> None: ...
    def find(self, messages: tuple[bytes, ...], rows: npt.NDArray[np.int64]) -> bytearray: ...
