"""The anomaly scorer's Python half: fitting, saving and explaining the profile that score/score.pyx scores with."""

from modelward.score.data import load_table
from modelward.score.errors import ProfileError
from modelward.score.profile import Deviation, Profile

__all__ = ["Deviation", "Profile", "ProfileError", "load_table"]
