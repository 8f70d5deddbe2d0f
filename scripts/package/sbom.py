"""Lists of what is in a wheel or an image, in CycloneDX 1.6 (PEP 770 says where a wheel has its own)."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

__all__ = ["component", "document", "dumped"]

NAMESPACE = uuid.UUID("9a8e4b0e-5d0b-4d0c-8d5d-6e2f6d6f6477")  # of the numbers that documents are known by
LICENCE = "Apache-2.0"


def component(
    kind: str,
    name: str,
    version: str,
    *,
    licence: str = "",
    purl: str = "",
    files: Mapping[str, bytes] | None = None,
    says: str = "",
) -> dict[str, Any]:
    """One part. licence: an SPDX expression. files: where it lies, with the bytes, of which a single one is hashed."""
    made: dict[str, Any] = {"type": kind, "bom-ref": purl or (f"{name}@{version}" if version else name), "name": name}
    if version:
        made["version"] = version
    if says:
        made["description"] = says
    if licence:
        made["licenses"] = [{"expression": licence}]
    if purl:
        made["purl"] = purl
    if files:
        if len(files) == 1:
            (data,) = files.values()
            made["hashes"] = [{"alg": "SHA-256", "content": hashlib.sha256(data).hexdigest()}]
        made["evidence"] = {"occurrences": [{"location": name} for name in sorted(files)]}
    return made


def document(
    subject: Mapping[str, Any], parts: Sequence[Mapping[str, Any]], tools: Iterable[Mapping[str, Any]], epoch: int
) -> dict[str, Any]:
    """The document of a subject that is made of parts. epoch: when, in seconds since 1970."""
    made: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "tools": {"components": list(tools)},
            "component": dict(subject),
        },
        "components": sorted(map(dict, parts), key=lambda part: str(part["bom-ref"])),
        "dependencies": [
            {"ref": subject["bom-ref"], "dependsOn": sorted(str(part["bom-ref"]) for part in parts)},
        ],
    }
    made["serialNumber"] = f"urn:uuid:{uuid.uuid5(NAMESPACE, json.dumps(made, sort_keys=True))}"
    return made


def dumped(made: Mapping[str, Any]) -> bytes:
    return (json.dumps(made, indent=1, sort_keys=True) + "\n").encode()
