"""A wheel that runs elsewhere: with the libraries that it needs, their licences, and a list of what is in it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from email.parser import BytesParser
from pathlib import Path
from typing import Any

from scripts.package import archive, sbom
from scripts.package.elf import needed
from scripts.package.provided import LICENCES, Provided, provider

__all__ = ["LIBRARIES", "SBOM", "repaired"]

LIBRARIES = "modelward.libs"
SBOM = "sboms/modelward.cdx.json"
SYSTEM = ("/usr/lib64", "/usr/lib", "/usr/local/lib64", "/usr/local/lib")
CYTHON = re.compile(rb"_cython_(\d+_\d+_\w+?)\x00")
DATA_LICENCE = "CC-BY-4.0"  # proxy/modelward/demo/README.md


def repaired(raw: Path, folder: Path, epoch: int) -> Path:
    """Writes the wheel with everything it needs into the folder.

    auditwheel copies the libraries in and names the oldest glibc that the wheel runs with. epoch: the time of all that
    is in it, in seconds since 1970. LookupError for a library whose package or licence is not known,
    subprocess.CalledProcessError where auditwheel refuses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(["auditwheel", "repair", "--plat", "auto", "-w", place, str(raw)], check=True)
        (found,) = Path(place).glob("*.whl")
        files = archive.read(found)
        before = archive.read(raw)
        target = folder / found.name
    archive.write(target, complete(files, _sources(before), epoch), epoch)
    return target


def complete(files: dict[str, bytes], sources: dict[str, Provided], epoch: int) -> dict[str, bytes]:
    """The wheel's files with licences and SBOM. sources: by the start of a library's name, the package it is from."""
    info = archive.dist_info(files)
    made = {name: data for name, data in files.items() if not name.startswith(f"{info}/sboms/")}
    parts = [_data(made), _cython(made)]
    notices = []
    for name in sorted(name for name in files if name.startswith(f"{LIBRARIES}/")):
        stem = _stem(name)
        project, licence = LICENCES[stem]
        source = sources[stem]
        notice = f"{project}/{'copyright' if source.purl.startswith('pkg:deb') else 'COPYING'}"
        made[f"{info}/licenses/{notice}"] = source.notice
        notices.append(notice)
        version, where = source.upstream_version, {name: files[name]}
        parts.append(sbom.component("library", project, version, licence=licence, purl=source.purl, files=where))
    made[f"{info}/METADATA"] = _with_licences(files[f"{info}/METADATA"], notices)
    told = BytesParser().parsebytes(made[f"{info}/METADATA"], headersonly=True)
    subject = sbom.component(
        "application",
        str(told["Name"]),
        str(told["Version"]),
        licence=str(told["License-Expression"]),
        purl=f"pkg:pypi/{told['Name']}@{told['Version']}",
    )
    made[f"{info}/{SBOM}"] = sbom.dumped(sbom.document(subject, parts, _tools(made[f"{info}/WHEEL"]), epoch))
    return made


def _sources(files: dict[str, bytes]) -> dict[str, Provided]:
    """The packages of the system that the compiled modules link, of those that a wheel takes with it."""
    found = {}
    for name, data in sorted(files.items()):
        for library in needed(data).libraries if data.startswith(b"\x7fELF") else ():
            stem = _stem(library)
            if stem in LICENCES and stem not in found:
                found[stem] = provider(_located(library, name))
    return found


def _located(library: str, wanted_by: str) -> Path:
    """As the linker of the system finds it."""
    listed = shutil.which("ldconfig", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    told = subprocess.run([listed, "-p"], capture_output=True, text=True, check=False).stdout if listed else ""
    match = re.search(rf"^\s*{re.escape(library)} .* => (\S+)$", told, re.MULTILINE)
    for place in [Path(match[1])] if match else [Path(folder, library) for folder in SYSTEM]:
        if place.exists():
            return place.resolve()
    raise LookupError(f"{library}, which {wanted_by} needs, is not on this system")


def _stem(library: str) -> str:
    """libnghttp2 of libnghttp2.so.14, and of modelward.libs/libnghttp2-8a2f2c1d.so.14.28.3."""
    return re.split(r"\.so|-[0-9a-f]{8}\.", Path(library).name)[0]


def _with_licences(metadata: bytes, notices: list[str]) -> bytes:
    """Core metadata that names these files of licenses/ too."""
    lines = metadata.decode().split("\n")
    last = max(i for i, line in enumerate(lines[: lines.index("")]) if line.startswith("License-File:"))
    lines[last + 1 : last + 1] = [f"License-File: {notice}" for notice in sorted(set(notices))]
    return "\n".join(lines).encode()


def _data(files: dict[str, bytes]) -> dict[str, Any]:
    name = "modelward/demo/breast_cancer.npz"
    return sbom.component(
        "data",
        "Breast Cancer Wisconsin (Diagnostic)",
        "",
        licence=DATA_LICENCE,
        files={name: files[name]},
        says="the table of the demo, from the UCI Machine Learning Repository, doi:10.24432/C5DW2B",
    )


def _cython(files: dict[str, bytes]) -> dict[str, Any]:
    """Helpers that Cython writes into each compiled module; the module has the version."""
    modules = {name: data for name, data in files.items() if name.startswith("modelward_native/") and ".so" in name}
    versions = {match[1] for data in modules.values() if (match := CYTHON.search(data))}
    (version,) = versions or {b""}
    told = version.decode().replace("_", ".")
    return sbom.component(
        "library",
        "Cython",
        told,
        licence=sbom.LICENCE,
        purl=f"pkg:pypi/cython@{told}",
        says=f"its helpers are a part of each of the {len(modules)} compiled modules",
    )


def _tools(wheel: bytes) -> list[dict[str, Any]]:
    generator = str(BytesParser().parsebytes(wheel, headersonly=True)["Generator"])
    match = re.fullmatch(r"(\S+) \((\S+)\)", generator)
    made = [{"type": "application", "name": match[1], "version": match[2]}] if match else []
    version = subprocess.run(["auditwheel", "--version"], capture_output=True, text=True, check=False).stdout
    if found := re.search(r"auditwheel (\S+)", version):
        made.append({"type": "application", "name": "auditwheel", "version": found[1]})
    return made
