"""`python -m scripts.package.image ROOT`: the list of what is in the root of the image, in CycloneDX."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path
from typing import Any
from urllib.parse import quote

from scripts.package import archive, sbom

__all__ = ["listed"]

SITE = "opt/modelward/lib/python3.13/site-packages"
PACKAGES = "var/lib/dpkg/status.d"
FREE_TEXT = 60  # characters: what is longer is a licence's text where its name belongs
EXPRESSION = re.compile(r"[A-Za-z0-9.+-]+( (AND|OR|WITH) [A-Za-z0-9.+-]+)*")


def listed(root: Path, epoch: int) -> dict[str, Any]:
    """The document of a root that deploy/image/root has made. epoch: when, in seconds since 1970."""
    parts = [*_debian(root), *_python(root), *_bundled(root)]
    (own,) = (part for part in parts if part["name"] == "modelward")
    subject = sbom.component("container", "modelward", own["version"], licence=sbom.LICENCE)
    return sbom.document(subject, parts, [], epoch)


def _debian(root: Path) -> Iterator[dict[str, Any]]:
    for path in sorted((root / PACKAGES).iterdir()):
        told = Parser().parsestr(path.read_text(), headersonly=True)
        name, version = str(told["Package"]), str(told["Version"])
        purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={told['Architecture']}&distro=debian-13"
        where = f"usr/share/doc/{name}/copyright"
        made = sbom.component("library", name, version, purl=purl)
        # Its terms are many, one for each of its files: Debian has them all in one text.
        made["licenses"] = [{"license": {"name": f"see /{where}"}}]
        yield made


def _python(root: Path) -> Iterator[dict[str, Any]]:
    for path in sorted((root / SITE).glob("*.dist-info/METADATA")):
        told = Parser().parsestr(path.read_text(), headersonly=True)
        name, version = str(told["Name"]), str(told["Version"])
        made = sbom.component("library", name, version, purl=f"pkg:pypi/{name.lower()}@{version}")
        made["licenses"] = [_licence(told, path.parent.name)]
        yield made


def _bundled(root: Path) -> Iterator[dict[str, Any]]:
    """What wheels say that they have brought with them (PEP 770)."""
    seen = set()
    for path in sorted((root / SITE).glob("*.dist-info/sboms/*.json")):
        told = json.loads(path.read_text())
        subject = told.get("metadata", {}).get("component", {}).get("bom-ref")
        for part in told.get("components", []) if told.get("bomFormat") == "CycloneDX" else []:
            name = f"{path.parent.parent.name.partition('-')[0]}/{part.get('bom-ref', part['name'])}"
            if part.get("bom-ref") != subject and name not in seen:
                seen.add(name)
                yield {**part, "bom-ref": name}


def _licence(told: Any, folder: str) -> dict[str, Any]:
    if expression := told["License-Expression"]:
        return {"expression": str(expression)}
    free = str(told["License"] or "")
    if EXPRESSION.fullmatch(free) and len(free) <= FREE_TEXT:
        return {"license": {"name": free}}
    classified = [
        each.rsplit(" :: ", 1)[1] for each in told.get_all("Classifier") or () if each.startswith("License ::")
    ]
    return {"license": {"name": ", ".join(classified) or f"see /{SITE}/{folder}"}}


if __name__ == "__main__":
    sys.stdout.buffer.write(
        sbom.dumped(listed(Path(sys.argv[1]), int(os.environ.get("SOURCE_DATE_EPOCH") or archive.FIRST_DAY)))
    )
