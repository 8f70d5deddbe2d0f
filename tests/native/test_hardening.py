"""Every compiled module, also of tests, is built so that an overrun of its memory ends the process and runs nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import modelward_native
from scripts.package.elf import imported, weaknesses

NATIVE = Path(modelward_native.__file__).parent
SOURCES = sorted(NATIVE.rglob("*.pyx"))

not_sanitized = pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer guards arrays itself, and more"
)


def module(source: Path) -> bytes:
    """The one that was built of it. ValueError unless there is one."""
    (built,) = source.parent.glob(f"{source.stem}.*.so")
    return built.read_bytes()


@pytest.fixture(scope="module")
def modules() -> dict[str, bytes]:
    assert len(SOURCES) > 100
    return {str(source.relative_to(NATIVE)): module(source) for source in SOURCES}


def test_the_linker_leaves_nothing_to_write_or_run(modules: dict[str, bytes]) -> None:
    assert {name: found for name, data in modules.items() if (found := weaknesses(data))} == {}


@not_sanitized
def test_kernels_are_called_directly_and_by_their_own_module_alone(modules: dict[str, bytes]) -> None:
    """With a name for others, a function of another library that has the same name could be called in its place."""
    names = {name: imported(data) for name, data in modules.items()}
    assert {name: told for name, of in names.items() if (told := [each for each in of if each.startswith("mw_")])} == {}


@not_sanitized
def test_arrays_on_the_stack_are_guarded_and_copies_into_them_counted(modules: dict[str, bytes]) -> None:
    """Cython puts arrays on the stack in each module, so each has the guard; FORTIFY shows where a size is known."""
    asked = {name: imported(data) for name, data in modules.items()}
    assert [name for name, names in asked.items() if "__stack_chk_fail" not in names] == []
    assert {"__memcpy_chk", "__snprintf_chk"} <= frozenset().union(*asked.values())
