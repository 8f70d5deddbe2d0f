"""What a rule of the scan says: how severe what it finds is, why that matters and how to mend it."""

from __future__ import annotations

from msgspec import Struct

from modelward.config.scan import SEVERITIES, Severity

__all__ = ["SEVERITIES", "Rule", "Severity", "at_least"]


def at_least(severity: Severity, bound: Severity) -> bool:
    """Whether `severity` is as bad as `bound`, or worse."""
    return SEVERITIES.index(severity) <= SEVERITIES.index(bound)


class Rule(Struct, frozen=True):
    """finds: a noun phrase, for the list of rules."""

    severity: Severity
    finds: str
    why: str
    how: str
