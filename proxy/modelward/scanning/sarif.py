"""Findings as SARIF 2.1.0 (OASIS), which code hosts and editors show."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from modelward.scanning.finding import Finding
from modelward.scanning.rule import Severity
from modelward.scanning.rules import RULES

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS: dict[Severity, str] = {
    "critical": "error",
    "high": "error",
    "medium": "warning",
    "low": "note",
    "info": "note",
}
# of 10, as code hosts sort by it
SCORES: dict[Severity, str] = {"critical": "9.5", "high": "8.0", "medium": "5.0", "low": "2.0", "info": "0.0"}


def sarif(findings: Iterable[Finding], version: str) -> dict[str, Any]:
    """version: of this program."""
    ids = list(RULES)
    driver = {
        "name": "modelward",
        "version": version,
        "rules": [
            {
                "id": name,
                "shortDescription": {"text": f"{rule.finds}."},
                "fullDescription": {"text": f"{rule.why}."},
                "help": {"text": f"{rule.how}."},
                "defaultConfiguration": {"level": LEVELS[rule.severity]},
                "properties": {"security-severity": SCORES[rule.severity], "tags": ["security", "model"]},
            }
            for name, rule in RULES.items()
        ],
    }
    results = [_result(finding, ids.index(finding.rule)) for finding in findings]
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _result(finding: Finding, index: int) -> dict[str, Any]:
    location: dict[str, Any] = {"physicalLocation": {"artifactLocation": {"uri": _uri(finding.file)}}}
    if finding.place:
        location["logicalLocations"] = [{"name": finding.place, "kind": "element"}]
    identity = f"{finding.rule}\0{Path(finding.file).name}\0{finding.place}\0{finding.what}"
    return {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": LEVELS[finding.severity],
        "message": {"text": f"{finding.words}: {RULES[finding.rule].why}. {RULES[finding.rule].how}."},
        "locations": [location],
        "partialFingerprints": {"finding/v1": hashlib.sha256(identity.encode(errors="replace")).hexdigest()},
    }


def _uri(file: str) -> str:
    """Relative as it was given, or a file URI."""
    path = Path(file)
    encoded = quote(path.as_posix(), errors="replace")
    return f"file://{encoded}" if path.is_absolute() else encoded
