"""Modules that are imported when something of them is used first."""

from importlib import import_module
from typing import Any


class Lazy:
    """Stands for a module where most processes need nothing of it: numpy alone takes 6 MiB and 80 ms of CPU.

    Type checkers see the module itself: `if TYPE_CHECKING: import numpy as np`, `else: np = Lazy("numpy")`.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self._name), name)
