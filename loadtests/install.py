"""`python -m loadtests.install`: the wheel in fresh roots of other systems, without compiler and libnghttp2."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtests.tools import machine, results, roots
from loadtests.tools.results import Bar, table
from loadtests.tools.roots import Missing

ROOT = Path(__file__).parents[1]
SECONDS, BUILD_SECONDS = 1200, 3600
# What a system of today has at least (PEP 600), for the packages that Modelward imports.
GLIBC = range(5, 37)
COMPILER = ("python3-dev", "gcc", "libc6-dev", "binutils", "libnghttp2-dev", "zlib1g-dev")

METHOD = """\
A root of each system is made from its own packages, with `python3-venv` and what that needs, and nothing else: no
compiler, no libnghttp2. In it, as a user without rights, on a read-only root and without a network, a virtual
environment is made, the wheel is installed from a folder with what it imports, and `modelward demo --exit` runs: it
passes only if each of its guards is seen at work. The wheels are those of `make wheel`."""

INSIDE = """
set -eu
cd /srv
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check --no-index --find-links /mnt "$1"
venv/bin/python -c 'import platform; print(platform.python_version(), platform.libc_ver()[1])' >facts
venv/bin/modelward demo --exit
"""


@dataclass(frozen=True)
class System:
    """name: for people. suite, components: for mmdebstrap. python: its own, as 3.11."""

    name: str
    suite: str
    python: str
    components: str = "main"

    @property
    def tag(self) -> str:
        return f"cp{self.python.replace('.', '')}"


SYSTEMS = (
    System("Debian 12", "bookworm", "3.11"),
    System("Debian 13", "trixie", "3.13"),
    System("Ubuntu 24.04", "noble", "3.12", "main,universe"),
)


def wheel(system: System) -> Path:
    """The newest in dist/ for the system's Python; built on that system where there is none. Raises Missing."""
    found = sorted(ROOT.glob(f"dist/modelward-*-{system.tag}-*.whl"), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else built(system)


def built(system: System) -> Path:
    """`make wheel` in a root of the system that has a compiler, with build tools from here. Raises Missing."""
    place = roots.root(system.suite, ["python3-venv", *COMPILER], system.components, f"{system.suite}-build")
    tools = downloaded(f"build-{system.tag}", system, build_tools())
    tree = ROOT / "build" / "wheel" / system.suite
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    subprocess.run([ROOT / "scripts" / "copy-tree", tree], check=True)
    roots.give(tree)
    epoch = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=True)
    command = roots.command(
        place,
        ["/bin/sh", "-c", "cd /srv && scripts/wheel /usr/bin/python3"],
        reads={tools: "/mnt"},
        writes={tree: "/srv"},
        environment={
            **{"HOME": "/tmp", "PATH": "/usr/bin:/bin:/usr/sbin", "LANG": "C.UTF-8"},
            **{"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/mnt", "SOURCE_DATE_EPOCH": epoch.stdout.strip()},
        },
    )
    ran = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    if ran.returncode:
        raise Missing(f"no wheel for Python {system.python} can be built on it: {ran.stderr[-2000:]}")
    (made,) = tree.glob("dist/*.whl")
    return Path(shutil.copy2(made, ROOT / "dist"))


def build_tools() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return [*project["build-system"]["requires"], *project["project"]["optional-dependencies"]["wheel"]]


def wheels(system: System, own: Path) -> Path:
    """A folder with the wheel and all that it imports, for the system's Python. Raises Missing."""
    for old in (roots.CACHE / "wheels" / system.tag).glob("modelward-*.whl"):
        old.unlink()
    folder = downloaded(system.tag, system, [str(own)])
    shutil.copy2(own, folder)
    return folder


def downloaded(name: str, system: System, packages: Sequence[str]) -> Path:
    """A folder in .cache/wheels with these packages and what they import, for the system's Python. Raises Missing."""
    folder = roots.CACHE / "wheels" / name
    folder.mkdir(parents=True, exist_ok=True)
    platform = os.uname().machine
    platforms = [f"manylinux_2_{minor}_{platform}" for minor in reversed(GLIBC)]
    asked = ["--only-binary=:all:", f"--python-version={system.python}", "--implementation=cp", f"--dest={folder}"]
    asked += [f"--platform={each}" for each in (*platforms, f"manylinux2014_{platform}")]
    command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", *asked, *packages]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise Missing(f"packages for it cannot be downloaded: {ran.stderr.strip().splitlines()[-1:]}")
    return folder


def foreign(folder: Path) -> list[Path]:
    """What a fresh root must not have: a compiler, or the library that the wheel brings with it."""
    compilers = [folder / "usr/bin" / name for name in ("cc", "gcc", "clang", "tcc")]
    return [each for each in compilers if each.exists()] + sorted((folder / "usr/lib").rglob("libnghttp2.so*"))


@contextmanager
def writable() -> Iterator[Path]:
    """A folder for the user in the root."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        folder.chmod(0o755)
        roots.give(folder)
        yield folder


def tried(system: System) -> tuple[str, ...]:
    """A row of the table. Raises Missing, or AssertionError where the wheel does not run there."""
    own = wheel(system)
    place = roots.root(system.suite, ["python3-venv"], system.components)
    assert not foreign(place), f"{system.name} is not fresh: {foreign(place)}"
    folder = wheels(system, own)
    with writable() as srv:
        command = roots.command(
            place,
            ["/bin/sh", "-c", INSIDE, "sh", f"/mnt/{own.name}"],
            reads={folder: "/mnt"},
            writes={srv: "/srv"},
            environment={"HOME": "/srv", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        )
        # setpriv and bwrap are started from a folder that the user may see
        ran = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=SECONDS, check=False)
        assert ran.returncode == 0, f"{system.name}: {ran.stdout[-4000:]}\n{ran.stderr[-4000:]}"
        python, glibc = (srv / "facts").read_text().split()
        installed = sum(each.stat().st_size for each in (srv / "venv").rglob("*") if each.is_file())
    steps = sum(line.strip().startswith("ok ") for line in ran.stdout.splitlines())
    told = hashlib.sha256(own.read_bytes()).hexdigest()[:16]
    size = f"{own.stat().st_size / 1e6:.2f} MB"
    tags = own.name.split("-", 3)[3].removesuffix(".whl")
    return system.name, python, glibc, tags, size, f"{installed / 1e6:.0f} MB", told, f"{steps} steps"


def main() -> int:
    """0 if the demo passes on every system that can be had here, and on one at least."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.install", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="SUITE", help=f"of {', '.join(each.suite for each in SYSTEMS)}")
    parser.add_argument("--write", action="store_true", help="replace the files in loadtests/results")
    arguments = parser.parse_args()

    rows, failed, missing = [], [], []
    for system in SYSTEMS:
        if arguments.only and system.suite not in arguments.only:
            continue
        try:
            rows.append(tried(system))
        except Missing as error:
            missing.append(f"- not tried on {system.name}: {error}")
        except AssertionError as error:
            failed.append(system.name)
            print(error, file=sys.stderr)
    columns = ("system", "Python", "glibc", "wheel", "size", "with all it needs", "SHA-256 begins", "demo")
    bars = [
        Bar("systems on which the demo passes", len(rows), 1, "", at_most=False),
        Bar("systems on which it does not", len(failed), 0, ""),
    ]
    body = "\n\n".join([table(columns, rows), "\n".join([*map(str, missing), *(f"- {bar}" for bar in bars)])])
    print(body)
    if arguments.write:
        facts, command = machine.facts(), machine.command("loadtests.install")
        data = {**facts, "rows": rows, "bars": {bar.name: bar.figure for bar in bars}}
        results.write("install", results.document("The wheel on fresh systems", METHOD, facts, command, body), data)
    return 0 if all(bar.reached for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
