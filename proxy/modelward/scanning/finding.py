"""A finding of a scan, and where findings are collected with a bound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict, replace

from modelward.problem import Problem
from modelward.scanning.rule import SEVERITIES, Severity, at_least
from modelward.scanning.rules import RULES

LONGEST_NAME = 80  # characters of a name that a message repeats
MOST_OF_A_RULE = 10  # findings of one rule in one file; further ones are counted


class Finding(Struct, frozen=True):
    """rule: its id. what: what was found, a sentence without a full stop. file: as the scan was given it. place: the
    node, the initializer or the member in it, or "". more: findings of the same rule in the file that are not told."""

    rule: str
    what: str
    file: str
    place: str = ""
    more: int = 0

    @property
    def severity(self) -> Severity:
        return RULES[self.rule].severity

    @property
    def words(self) -> str:
        """What and where in the file."""
        text = f"{self.what}, in {self.place}" if self.place else self.what
        return f"{text} (and {self.more} more)" if self.more else text

    @property
    def problem(self) -> Problem:
        rule = RULES[self.rule]
        return Problem(f"{self.words} [{self.rule}, {self.severity}]", self.file, rule.why, rule.how)

    def as_json(self) -> dict[str, Any]:
        rule = RULES[self.rule]
        return {"severity": self.severity, **asdict(self), "why": rule.why, "how": rule.how}


class Findings:
    """Of one file."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._found: dict[str, list[Finding]] = {}
        self._counts: Counter[str] = Counter()

    def add(self, rule: str, what: str, place: str = "") -> None:
        self._counts[rule] += 1
        kept = self._found.setdefault(rule, [])
        if len(kept) < MOST_OF_A_RULE:
            kept.append(Finding(rule, what, self._file, place))

    @property
    def all(self) -> list[Finding]:
        """The worst first."""
        told = []
        for rule, kept in self._found.items():
            more = self._counts[rule] - len(kept)
            told += [*kept[:-1], replace(kept[-1], more=more)]
        return worst_first(told)


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def as_bad_as(findings: Iterable[Finding], bound: Severity) -> list[Finding]:
    return [finding for finding in findings if at_least(finding.severity, bound)]


def summary(findings: Iterable[Finding]) -> str:
    """Such as `1 critical, 2 low`; empty without findings."""
    counts = counts_of(findings)
    return ", ".join(f"{count} {severity}" for severity, count in counts.items() if count)


def counts_of(findings: Iterable[Finding]) -> dict[Severity, int]:
    """By severity, the worst first, all of them."""
    counts = dict.fromkeys(SEVERITIES, 0)
    for finding in findings:
        counts[finding.severity] += 1 + finding.more
    return counts


def quoted(name: str) -> str:
    """A name from a model as a message may repeat it: short, and with nothing unprintable."""
    return repr(name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}...")
