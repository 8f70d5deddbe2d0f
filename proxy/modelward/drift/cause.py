"""Whose change it is."""

from enum import StrEnum


class Cause(StrEnum):
    NONE = ""
    WORLD = "world"
    """The inputs have changed, or the outputs of another version have too."""
    OWN = "own"
    """Its outputs have changed. Its inputs have not, nor have the outputs of a version with as many requests since."""
    UNCLEAR = "unclear"
    """Its outputs have changed, and no other version has had enough requests since to compare with."""
