"""What comes of the scan of a version: it is refused, or what was found is told."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable

from modelward.config.scan import RefusedBy, ScanPolicy
from modelward.models.artifact import Artifact
from modelward.problem import Problem
from modelward.scanning.finding import Finding, as_bad_as, counts_of, quoted, summary
from modelward.scanning.rules import RULES

TOLD = 3  # findings that a problem repeats


def refusals(name: str, policy: ScanPolicy, artifact: Artifact) -> list[Problem]:
    """Why the version is not served."""
    if not isinstance(policy, RefusedBy):
        return []
    found = as_bad_as(artifact.findings or (), policy.refuse)
    how = f"or set models.{name}.scan to warn"
    return [_problem(f"its scan found {summary(found)}", found, how)] if found else []


def notes(which: str, artifact: Artifact) -> list[Problem]:
    """What is worth telling of a version that is served. which: the version, in words."""
    found = as_bad_as(artifact.findings or (), "high")
    return [_problem(f"{which}: its scan found {summary(found)}", found)] if found else []


def _problem(what: str, found: list[Finding], how: str = "") -> Problem:
    """Where the first of them is: the worst."""
    told = [finding.words if finding.file == found[0].file else _elsewhere(finding) for finding in found[:TOLD]]
    why = "; ".join([*told, *(["..."] if len(found) > TOLD else [])])
    mend = f"{RULES[found[0].rule].how}; `modelward model scan` shows all"
    return Problem(what, found[0].file, why, ", ".join(filter(None, (mend, how))))


def _elsewhere(finding: Finding) -> str:
    return f"{finding.words} (file {quoted(os.path.basename(finding.file))})"


def severities(artifacts: Iterable[Artifact]) -> dict[str, int]:
    """Findings of all of these by severity; empty where nothing was scanned."""
    counts: Counter[str] = Counter()
    for artifact in artifacts:
        if artifact.findings is not None:
            counts.update(counts_of(artifact.findings))
    return dict(counts)
