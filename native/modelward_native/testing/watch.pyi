from typing import Any

import numpy as np
import numpy.typing as npt

from modelward_native.detect.suspicion import Suspicion
from modelward_native.detect.watch import Watcher

CELLS: int
PLACES: int
GROUPS: int
RESOLUTIONS: int
SAMPLE: int
PHASES: tuple[str, ...]

Array = npt.NDArray[Any]

class Watch:
    def __init__(self, suspicion: Suspicion, centers: npt.ArrayLike, secret: int = 1) -> None: ...
    @property
    def suspicion(self) -> Suspicion: ...
    def run(
        self,
        rows: npt.ArrayLike,
        at: npt.ArrayLike,
        p: npt.ArrayLike,
        who: npt.ArrayLike,
        labels: npt.ArrayLike,
        margins: npt.ArrayLike,
        times: npt.ArrayLike,
        day: int = 1,
        weight: float = 1.0,
        block_for: int = 6000,
        near_most: float = 28.0,
        columns: int = 0,
        prototypes: npt.ArrayLike | None = None,
        acted: bool = True,
    ) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.uint8], npt.NDArray[np.int32], npt.NDArray[np.uint8]]: ...
    def learn(self, now: int) -> None: ...
    def forget(self) -> None: ...
    def pieces(
        self, rows: npt.NDArray[np.float32], at: npt.NDArray[np.int32], name: int = 0, day: int = 1
    ) -> npt.NDArray[np.uint64]: ...
    def record(self, name: int) -> dict[str, Any] | None: ...
    def key(self, name: int) -> int: ...
    @property
    def phase(self) -> str: ...
    @property
    def taken(self) -> npt.NDArray[np.int32]: ...
    @property
    def groups(self) -> Array: ...
    @property
    def learnt(self) -> tuple[Array, Array, Array]: ...
    @property
    def tables(self) -> tuple[Array, Array, Array, Array, Array, Array]: ...
    @property
    def counts(self) -> tuple[Array, Array, Array, Array, Array]: ...
    @property
    def regions(self) -> list[tuple[list[float], int]]: ...
    @property
    def faults(self) -> list[tuple[int, int]]: ...
    def measure(
        self,
        rows: npt.NDArray[np.float32],
        at: npt.NDArray[np.int32],
        names: npt.NDArray[np.uint64],
        rounds: int,
    ) -> float: ...

def lock_cells(watcher: Watcher, phase: str, tenths: int) -> None: ...
