"""Which package of the system a library came from, in which version, and under which terms."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

__all__ = ["LICENCES", "Provided", "provider"]

# What a wheel may contain: the start of a library's file name, and whose it is under which SPDX expression. A library
# that is not here stops the build until its terms have been read.
LICENCES = {"libnghttp2": ("nghttp2", "MIT")}
COPYRIGHT = ("/usr/share/doc/{}/copyright", "/usr/share/licenses/{}/COPYING", "/usr/share/licenses/{}/LICENSE")


@dataclass(frozen=True)
class Provided:
    """A package of the system. version: the system's own, with the number of its corrections. notice: its licence."""

    name: str
    version: str
    purl: str
    notice: bytes

    @property
    def upstream_version(self) -> str:
        """Without the system's part: 1.64.0 of 1.64.0-1.1+deb13u2."""
        return re.split(r"[-+~]", self.version.split(":")[-1])[0]


def provider(library: Path) -> Provided:
    """Asks dpkg or rpm. LookupError where neither knows the library, or the package has no licence text."""
    found = _dpkg(library) or _rpm(library)
    if not found:
        raise LookupError(f"{library}: no package of this system has it, so its licence and version are not known")
    kind, name, version, architecture = found
    notices = [Path(place.format(name)) for place in COPYRIGHT]
    notice = next((each for each in notices if each.is_file()), None)
    if notice is None:
        raise LookupError(f"{name}: its licence is in none of {', '.join(map(str, notices))}")
    purl = f"pkg:{kind}/{_distribution()}/{quote(name)}@{quote(version)}?arch={architecture}"
    return Provided(name, version, purl, notice.read_bytes())


def _dpkg(library: Path) -> tuple[str, str, str, str] | None:
    if not shutil.which("dpkg-query"):
        return None
    # A library may be registered where it lay before /lib became /usr/lib.
    for path in dict.fromkeys((str(library), os.path.realpath(library), str(library).removeprefix("/usr"))):
        if owner := _said("dpkg-query", "--search", path):
            package = owner.split(": ")[0]
            told = _said("dpkg-query", "--show", "--showformat=${Package} ${Version} ${Architecture}", package)
            name, version, architecture = told.split()
            return "deb", name, version, architecture
    return None


def _rpm(library: Path) -> tuple[str, str, str, str] | None:
    told = shutil.which("rpm") and _said(
        "rpm", "-qf", "--queryformat", "%{NAME} %{VERSION}-%{RELEASE} %{ARCH}", str(library)
    )
    if not told:
        return None
    name, version, architecture = told.split()
    return "rpm", name, version, architecture


def _said(*command: str) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    return ran.stdout.strip() if ran.returncode == 0 else ""


def _distribution() -> str:
    release = Path("/etc/os-release")
    found = re.search(r'^ID="?([a-z0-9._-]+)', release.read_text(), re.MULTILINE) if release.is_file() else None
    return found[1] if found else "linux"
