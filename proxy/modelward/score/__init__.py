"""The anomaly scorer's Python half: fitting, saving and explaining the profile that score/score.pyx scores with."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from modelward.score.errors import ProfileError

if TYPE_CHECKING:
    from modelward.score.data import load_table
    from modelward.score.profile import Deviation, Profile

__all__ = ["Deviation", "Profile", "ProfileError", "load_table"]

_MODULES = {"load_table": "data", "Deviation": "profile", "Profile": "profile"}


def __getattr__(name: str) -> Any:
    """Imported when it is used first: both bring numpy."""
    if name not in _MODULES:
        raise AttributeError(name)
    return getattr(import_module(f"modelward.score.{_MODULES[name]}"), name)
