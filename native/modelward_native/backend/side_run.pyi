from typing import Any

import numpy.typing as npt

from modelward_native.backend.engine import Engine

class SideRun:
    """Runs of an engine beside its requests'."""

    def __init__(self, engine: Engine, canary: str = "") -> None: ...
    def run_once(self, inputs: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]: ...
    def stop(self) -> None: ...
