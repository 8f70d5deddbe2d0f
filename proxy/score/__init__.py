"""The anomaly scorer's Python half: fitting, saving and explaining the profile that native/score.pyx scores with."""

from proxy.score.data import load_table
from proxy.score.errors import ProfileError
from proxy.score.profile import Deviation, Profile

__all__ = ["Deviation", "Profile", "ProfileError", "load_table"]
