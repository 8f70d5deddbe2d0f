"""A wheel holds what runs and nothing else, loads the libraries that came with it, and is the same from any folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.package import ROOT, archive
from scripts.package.__main__ import modules
from scripts.package.check import problems
from scripts.package.elf import ENTRY, FLAG_1_NOW, FLAG_NOW, FLAGS, FLAGS_1, needed
from scripts.package.wheel import LIBRARIES, SBOM, repaired

EPOCH = 1_700_000_000
SOURCES = ("native", "proxy", "protos")
FILES = ("setup.py", "pyproject.toml", "README.md", "LICENSE")

Wheel = tuple[str, dict[str, bytes]]


def build(sources: Path, place: Path) -> subprocess.Popen[bytes]:
    """Of the modules that are compiled in place: compiling them again would take minutes."""
    environment = {**os.environ, "MODELWARD_COMPILED": "1", "SOURCE_DATE_EPOCH": str(EPOCH)}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    place.mkdir()
    options = ["egg_info", f"--egg-base={place}", "build", f"--build-base={place}/build"]
    wheel = ["bdist_wheel", f"--bdist-dir={place}/bdist", f"--dist-dir={place}/dist"]
    with (place / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "setup.py", "-q", *options, *wheel], cwd=sources, env=environment, stdout=log, stderr=log
        )


def built(running: subprocess.Popen[bytes], place: Path) -> Path:
    assert running.wait(300) == 0, (place / "log").read_text()
    (wheel,) = (place / "dist").glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def raws(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel as pip builds it, from this folder and from another one."""
    place = tmp_path_factory.mktemp("wheel")
    elsewhere = place / "elsewhere"
    first = build(ROOT, place / "first")
    for name in SOURCES:
        shutil.copytree(ROOT / name, elsewhere / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in FILES:
        shutil.copy2(ROOT / name, elsewhere / name)
    second = build(elsewhere, place / "second")
    return built(first, place / "first"), built(second, place / "second")


@pytest.fixture(scope="module")
def path(raws: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        return repaired(raws[0], tmp_path_factory.mktemp("repaired"), EPOCH)


@pytest.fixture(scope="module")
def wheel(path: Path) -> Wheel:
    return path.name, archive.read(path)


def test_a_wheel_is_as_it_should_be(wheel: Wheel) -> None:
    assert problems(*wheel, modules(), [str(ROOT)]) == []


def test_the_folder_of_the_sources_makes_no_difference(raws: tuple[Path, Path]) -> None:
    first, second = raws
    assert first.read_bytes() == second.read_bytes()


def test_the_same_files_are_the_same_bytes_in_any_order_and_time_zone(
    wheel: Wheel, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Pacific/Chatham")
    again = tmp_path / "again.whl"
    archive.write(again, dict(reversed(wheel[1].items())), EPOCH)
    assert again.read_bytes() == path.read_bytes()


def test_it_needs_no_libnghttp2_of_the_system(path: Path, tmp_path: Path) -> None:
    """One copy, which all modules share: a session is made in one and used in others."""
    shutil.unpack_archive(path, tmp_path, "zip")
    code = """
import modelward_native.wire.session, modelward_native.backend.connection
print(modelward_native.wire.session.__file__)
print(*sorted({line.split()[-1] for line in open("/proc/self/maps") if "/libnghttp2" in line}), sep="\\n")
"""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    module, *libraries = ran.stdout.split()
    (library,) = (tmp_path / LIBRARIES).iterdir()
    assert module.startswith(str(tmp_path))
    assert libraries == [str(library)]


def test_what_pip_has_built_is_for_this_machine_only(raws: tuple[Path, Path]) -> None:
    name, files = raws[0].name, archive.read(raws[0])
    found = problems(name, files, modules())
    assert f"{name} is for one kind of system: it has no manylinux tag" in found
    assert any(each.endswith("needs libnghttp2.so.14, which is not in the wheel") for each in found)
    assert f"{SBOM} is missing" in found


@pytest.mark.parametrize(
    ("added", "told"),
    [
        ("modelward_native/testing/probe.cpython-313-x86_64-linux-gnu.so", "is for tests"),
        ("modelward_native/testing/probe.pyi", "is for tests"),
        ("tests/support.py", "would lie beside the package"),
        ("modelward_native/wire/session.c", "is not needed"),
    ],
)
def test_a_file_too_many_is_told(wheel: Wheel, added: str, told: str) -> None:
    name, files = wheel
    assert problems(name, archive.recorded({**files, added: b""}), modules()) == [f"{added} {told}"]


def test_a_module_that_is_missing_is_told(wheel: Wheel) -> None:
    name, files = wheel
    assert problems(name, files, [*modules(), "modelward_native.later"]) == ["modelward_native.later is missing"]


def test_a_file_that_was_changed_is_told(wheel: Wheel) -> None:
    name, files = wheel
    changed = {**files, "modelward/py.typed": b"changed"}
    assert problems(name, changed, modules()) == ["modelward/py.typed is not as RECORD has it"]


def test_a_folder_of_the_builder_is_told(wheel: Wheel) -> None:
    name, files = wheel
    changed = archive.recorded({**files, "modelward/py.typed": b"/home/builder/modelward"})
    assert problems(name, changed, modules(), ["/home/builder"]) == [
        "modelward/py.typed tells the folder that it was built in"
    ]


def test_a_module_that_is_not_hardened_is_told(wheel: Wheel) -> None:
    name, files = wheel
    module = next(each for each in files if each.startswith("modelward_native/wire/session.cp"))
    unguarded = files[module].replace(b"__stack_chk_fail", b"__stack_chk_done")
    assert problems(name, archive.recorded({**files, module: unguarded}), modules()) == [
        f"{module} leaves arrays on the stack without a guard: -fstack-protector-strong"
    ]
    lazy = files[module]
    for tag, flag in ((FLAGS, FLAG_NOW), (FLAGS_1, FLAG_1_NOW)):
        lazy = lazy.replace(ENTRY.pack(tag, flag), ENTRY.pack(tag, 0))
    assert problems(name, archive.recorded({**files, module: lazy}), modules()) == [
        f"{module} binds functions while it runs: no BIND_NOW"
    ]


def test_a_library_that_is_not_listed_and_has_no_licence_is_told(wheel: Wheel) -> None:
    name, files = wheel
    info = archive.dist_info(files)
    (library,) = (each for each in files if each.startswith(f"{LIBRARIES}/"))
    listed = json.loads(files[f"{info}/{SBOM}"])
    (part,) = (each for each in listed["components"] if each["name"] == "nghttp2")
    part["hashes"][0]["content"] = "0" * 64
    changed = {each: data for each, data in files.items() if "/licenses/nghttp2/" not in each}
    changed[f"{info}/{SBOM}"] = json.dumps(listed).encode()
    assert problems(name, archive.recorded(changed), modules()) == [
        f"{library} is not listed in {SBOM}",
        "the licence text of nghttp2 is missing",
    ]


def test_metadata_name_the_licence_of_each_library(wheel: Wheel) -> None:
    _, files = wheel
    info = archive.dist_info(files)
    lines = files[f"{info}/METADATA"].decode().split("\n")
    named = [line.removeprefix("License-File: ") for line in lines if line.startswith("License-File: ")]
    assert named[0] == "LICENSE"
    assert named[1].startswith("nghttp2/")
    assert all(f"{info}/licenses/{each}" in files for each in named)


def test_the_linker_is_asked_for_what_a_module_needs(raws: tuple[Path, Path]) -> None:
    files = archive.read(raws[0])
    (module,) = (data for name, data in files.items() if name.startswith("modelward_native/wire/session.cp"))
    asked = needed(module)
    assert {"libnghttp2.so.14", "libc.so.6"} <= set(asked.libraries)
    assert asked.folders == ()


def test_what_is_no_module_asks_for_nothing() -> None:
    with pytest.raises(ValueError, match="not an ELF file"):
        needed(b"#!/bin/sh\n")
