"""What is known about one bound of a promotion: whether the version keeps it, and how many answers are missing."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct


class Decision(StrEnum):
    KEPT = "kept"
    EXCEEDED = "exceeded"
    UNDECIDED = "undecided"


class Finding(Struct, frozen=True):
    """bound: its key in the configuration, or canary, shadow, traffic. words: what was found, with numbers.

    answers, needed: of an undecided one, how many answers count so far, and how many decide it at the present rates;
    needed is 0 where no number of answers does. how: what ends that.
    """

    bound: str
    decision: Decision
    words: str = ""
    answers: int = 0
    needed: int = 0
    how: str = ""

    @property
    def words_and_way(self) -> str:
        return f"{self.words}. {self.how}" if self.words and self.how else self.words or self.how

    def __str__(self) -> str:
        counted = f"{self.answers} of {self.needed} answers" if self.needed else ""
        said = ", ".join(filter(None, (counted, self.words_and_way)))
        return f"{self.bound}: {said or self.decision}"


def undecided(findings: Iterable[Finding]) -> list[Finding]:
    return [each for each in findings if each.decision is Decision.UNDECIDED]
