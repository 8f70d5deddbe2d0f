"""Models of the repository that cannot be served: which, why, and what is served in their place."""

import re
from collections.abc import Iterable

from msgspec import Struct

from modelward.problem import Problem

# a path, or a part of one: clients do not see where files lie
_PATH = re.compile(r"(?<![\w/])(?:\.{0,2}/)[^\s'\":,;)]*")
LONGEST_REASON = 300


def for_clients(reason: str) -> str:
    """Its first line, without paths."""
    return _PATH.sub("(path)", reason.partition("\n")[0])[:LONGEST_REASON]


class Refused(Struct, frozen=True):
    """One version, or with version "" a model as a whole.

    kept: what was served of the model before this reload is served still. slow: the hash of a file that was given up
    because it took too long; the same file is not tried again. barred: whether it can be served or not, it may not: no
    signature of it counts, for one.
    """

    name: str
    version: str
    problems: tuple[Problem, ...]
    kept: bool = False
    slow: str = ""
    barred: bool = False

    @property
    def reason(self) -> str:
        """For clients: what is wrong, without paths."""
        first = self.problems[0]
        why = "" if "::" in first.why else first.why  # the runtime's own insides
        text = f"{first.what}: {why}" if why else first.what
        return for_clients(text)

    def __str__(self) -> str:
        which = f"model {self.name} version {self.version}" if self.version else f"model {self.name}"
        stays = "; what was served before stays" if self.kept else ""
        return f"{which} is refused{stays}: {'; '.join(map(str, self.problems))}"


def stale(name: str, version: str, refused: Iterable[Refused]) -> str:
    """Why a version is served as it was before and not as it is on disk, or ""."""
    for each in refused:
        if each.kept and each.name == name and each.version in ("", version):
            if each.barred:
                return f"it is served as it was loaded; what is on disk is refused: {each.reason}"[:LONGEST_REASON]
            return f"an older file is served; the one on disk was refused: {each.reason}"[:LONGEST_REASON]
    return ""


def problems_of(refused: Iterable[Refused]) -> tuple[Problem, ...]:
    return tuple(dict.fromkeys(problem for each in refused for problem in each.problems))
