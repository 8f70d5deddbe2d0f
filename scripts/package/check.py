"""What a wheel must be, whatever built it: `problems` names what it is not."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping

from scripts.package import archive
from scripts.package.elf import imported, needed, weaknesses
from scripts.package.wheel import LIBRARIES, SBOM

__all__ = ["LARGEST_BYTES", "problems"]

LARGEST_BYTES = 8 << 20  # of a wheel: a model server's own image is a thousand times as large
# What every Linux system with glibc and a Python has: zlib is a part of the manylinux policies.
SYSTEM = re.compile(r"(libc|libm|libdl|librt|libpthread|libz)\.so\.\d+|ld-linux-[\w-]+\.so\.\d+")
ENDINGS = (".py", ".pyi", ".pxd", ".so", "/py.typed", "/descriptors.pb")
DEMO = ("modelward/demo/README.md", "modelward/demo/breast_cancer.npz", "modelward/demo/breast_cancer.onnx")
MANYLINUX = re.compile(r"-(manylinux_2_\d+_\w+)\.whl$")


def problems(name: str, files: Mapping[str, bytes], modules: Iterable[str], folders: Iterable[str] = ()) -> list[str]:
    """What is wrong with the wheel of this file name; nothing where it is as it should be.

    modules: the compiled modules that it must have, as modelward_native.wire.session. folders: those it was built in,
    whose names must be in no file.
    """
    found = [*_names(name, files, modules), *_record(files), *_linked(files), *_hardened(files), *_listed(files)]
    for folder in folders:
        found += [
            f"{each} tells the folder that it was built in" for each, data in files.items() if folder.encode() in data
        ]
    return found


def _names(name: str, files: Mapping[str, bytes], modules: Iterable[str]) -> Iterator[str]:
    if not MANYLINUX.search(name):
        yield f"{name} is for one kind of system: it has no manylinux tag"
    info = archive.dist_info(files)
    for each in files:
        if "testing" in each.split("/"):
            yield f"{each} is for tests"
        elif not each.startswith((f"{info}/", f"{LIBRARIES}/", "modelward/", "modelward_native/")):
            yield f"{each} would lie beside the package"
        elif each.startswith(("modelward/", "modelward_native/")) and not each.endswith(ENDINGS) and each not in DEMO:
            yield f"{each} is not needed"
    there = {each.split(".")[0].replace("/", ".") for each in files if each.endswith(".so")}
    for module in modules:
        if module not in there:
            yield f"{module} is missing"
    if f"{info}/licenses/LICENSE" not in files:
        yield "the licence is missing"


def _record(files: Mapping[str, bytes]) -> Iterator[str]:
    record = f"{archive.dist_info(files)}/RECORD"
    rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(files[record].decode()))}
    for each, data in files.items():
        if each != record and rows.get(each) != [archive.digest(data), str(len(data))]:
            yield f"{each} is not as RECORD has it"
    for each in rows.keys() - files.keys():
        yield f"{each} is in RECORD and not in the wheel"


def _linked(files: Mapping[str, bytes]) -> Iterator[str]:
    taken = {each.split("/")[1] for each in files if each.startswith(f"{LIBRARIES}/")}
    for each, data in files.items():
        if data.startswith(b"\x7fELF"):
            asked = needed(data)
            for library in asked.libraries:
                if not SYSTEM.fullmatch(library) and library not in taken:
                    yield f"{each} needs {library}, which is not in the wheel"
            for folder in asked.folders:
                if not folder.startswith("$ORIGIN"):
                    yield f"{each} looks for libraries in {folder}"


def _hardened(files: Mapping[str, bytes]) -> Iterator[str]:
    """Of our own modules: a library is as the system's own distribution has built it."""
    for each, data in files.items():
        if data.startswith(b"\x7fELF") and not each.startswith(f"{LIBRARIES}/"):
            yield from (f"{each} {weakness}" for weakness in weaknesses(data))
            if "__stack_chk_fail" not in imported(data):  # all have arrays on the stack: Cython puts some into each
                yield f"{each} leaves arrays on the stack without a guard: -fstack-protector-strong"


def _listed(files: Mapping[str, bytes]) -> Iterator[str]:
    info = archive.dist_info(files)
    if f"{info}/{SBOM}" not in files:
        yield f"{SBOM} is missing"
        return
    parts = json.loads(files[f"{info}/{SBOM}"])["components"]
    hashes = {
        (place["location"], part.get("hashes", [{}])[0].get("content"))
        for part in parts
        for place in part.get("evidence", {}).get("occurrences", [])
    }
    for each, data in files.items():
        if each.startswith(f"{LIBRARIES}/") and (each, hashlib.sha256(data).hexdigest()) not in hashes:
            yield f"{each} is not listed in {SBOM}"
    for part in parts:
        if not part.get("licenses"):
            yield f"{SBOM} has no licence of {part['name']}"
        texts = any(name.startswith(f"{info}/licenses/{part['name']}/") for name in files)
        if part["type"] == "library" and part.get("evidence") and not texts:
            yield f"the licence text of {part['name']} is missing"
