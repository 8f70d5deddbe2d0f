"""What the processes of one server have counted of their shadows, added up over their slots of the region.

A shadow is called (model, version of the primary, its own name).
"""

from modelward_native.region.region import Region
from modelward_native.shadow.stats import Stats

Folded = tuple[tuple[int, ...], tuple[int, ...], int]
"""Bounds in ns, cumulative counts with that of all last, sum in ns."""
MOST_IDENTITIES: int
"""Callers that have a slice of their own."""

class Slices:
    """One shadow's stats, as they were when they were asked for; their windows are empty."""

    normal: Stats
    """Pairs of requests that the anomaly guard does not flag."""
    anomalous: Stats
    """Pairs of requests that it flags."""
    total: Stats
    """Of both."""
    identities: dict[tuple[str, str], Stats]
    """By how the caller was proved (certificate, token, key) and its name: at most MOST_IDENTITIES of them, those with
    most pairs."""
    parts: dict[int, Stats]
    """By part of the callers (modelward_native.shadow.evidence), those with pairs."""
    others: Stats
    """Of all other callers, and of anonymous ones."""
    scores: list[tuple[float, float]]
    """The last pairs of scores (primary, shadow) of every process."""
    warmed: int
    """Pairs that ended during the warm-up: in no other count."""

class Block:
    """This process's stats of one shadow. Raises MemoryError where the region has no room."""

    def __init__(self, region: Region, model: str, primary: str, name: str, fingerprint: str = "") -> None: ...
    def add(
        self, stats: Stats, *, anomalous: bool = False, identity: str = "", kind: str = "key", part: int = 0
    ) -> None:
        """Adds what other stats hold, and their window."""

    def warm(self, pairs: int = 1) -> None:
        """Pairs have ended during the warm-up."""

    def leave(self) -> None:
        """This object counts here no more, which is not to be used again."""

def shadows(region: Region, model: str | None = None) -> dict[tuple[str, str, str], Slices]:
    """The shadows of a model, or of all, that any process serves; of one that was changed the newest."""

def totals(region: Region) -> dict[tuple[str, str, str], Stats]:
    """Slices.total of every shadow that any process serves."""

def callers(region: Region, model: str, primary: str, name: str) -> list[Stats]:
    """Slices.parts of one shadow."""

def latencies(stats: Stats) -> tuple[Folded, Folded]:
    """Of the primary's and the shadow's answers that were compared."""

def vacate(region: Region, slot: int) -> None:
    """The process of this slot has gone: it serves no shadow any more. What it has counted stays."""
