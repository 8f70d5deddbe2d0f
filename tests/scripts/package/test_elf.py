"""What the linker leaves to a stranger who overruns a module's memory is told, each by its own name."""

from __future__ import annotations

import shlex
import subprocess
import sysconfig
from pathlib import Path

import pytest

from scripts.package.elf import imported, needed, weaknesses

GUARDED = ("-Wl,-z,relro,-z,now", "-Wl,-z,noexecstack")
# a page that holds its own address: the loader has to write into what is code
RELOCATED = '__asm__(".text\\n.balign 8\\nhere: .quad here\\n");'

BOTH = '__asm__(".section .both,\\"awx\\"\\n.quad 0\\n.text\\n");'


def linked(place: Path, *options: str, source: str = "") -> bytes:
    """A shared object with our options, and these after them."""
    target = place / "module.so"
    command = [*shlex.split(sysconfig.get_config_var("CC")), "-shared", "-fPIC", *GUARDED, *options]
    code = f"#include <string.h>\nchar *copied(const char *s) {{ return strdup(s); }}\n{source}\n"
    subprocess.run([*command, "-x", "c", "-o", target, "-"], input=code.encode(), check=True, capture_output=True)
    return target.read_bytes()


def test_a_module_that_is_linked_as_ours_are_has_no_weakness(tmp_path: Path) -> None:
    module = linked(tmp_path)
    assert weaknesses(module) == []
    assert needed(module).libraries == ("libc.so.6",)
    assert {"strdup", "copied"} <= imported(module)


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("-Wl,-z,lazy", "binds functions while it runs: no BIND_NOW"),
        ("-Wl,-z,norelro", "leaves the addresses of functions writable: no GNU_RELRO"),
        ("-Wl,-z,execstack", "wants a stack that can be executed: GNU_STACK"),
    ],
)
def test_a_weakness_is_told(option: str, told: str, tmp_path: Path) -> None:
    assert told in weaknesses(linked(tmp_path, option))


@pytest.mark.parametrize(
    ("source", "told"),
    [(RELOCATED, "changes its code when it is loaded: TEXTREL"), (BOTH, "has memory that can be written and executed")],
    ids=["changed when it is loaded", "in a section for both"],
)
def test_code_that_can_be_written_is_told(source: str, told: str, tmp_path: Path) -> None:
    assert weaknesses(linked(tmp_path, "-Wl,-z,notext", source=source)) == [told]
