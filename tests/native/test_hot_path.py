"""What runs for each request makes no Python objects.

Cython makes them silently: of a number that does not fit an int and has no LL, of an `or` between a C number and a
truth value. Read in the C that it wrote for the modules as they are built.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "native" / "modelward_native"
BUILT = ROOT / "build" / "cython" / "native" / "modelward_native"
PER_REQUEST = (
    *("request/parameter", "request/pipeline", "request/reply", "request/streams", "request/validate"),
    *(
        "request/last_good",
        "request/relays",
        "backend/results",
        "backend/relay_answers",
        "shadow/mirror",
        "shadow/pair",
    ),
)
FUNCTION = re.compile(r"static .*?__pyx_f_16modelward_native_\w*_\d+([a-zA-Z]\w*)\(.*\{$")
MAKES_ONE = re.compile(
    r"= (PyNumber_|__Pyx_PyNumber_|__Pyx_PyLong_|PyLong_From|PyFloat_From|Py(List|Tuple|Dict)_New|PyBytes_From)"
)
NOT_PER_REQUEST = {"resolve": {"resolve_learns"}}  # once for each peer and name that no model has


def built() -> list[Path]:
    stages = [f"stages/{source.stem}" for source in sorted((SOURCES / "stages").glob("*.pyx"))]
    return [BUILT / f"{name}.c" for name in (*stages, *PER_REQUEST)]


def makers(source: str) -> set[str]:
    """Functions that make a Python number or a container."""
    found, function = set(), ""
    for line in source.splitlines():
        if match := FUNCTION.match(line):
            function = match[1]
        elif line.startswith("}"):
            function = ""
        elif function and MAKES_ONE.search(line):
            found.add(function)
    return found


@pytest.mark.parametrize("module", built(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_module_of_the_request_path_makes_no_python_objects(module: Path) -> None:
    assert makers(module.read_text()) <= NOT_PER_REQUEST.get(module.stem, set())


def test_a_function_that_makes_one_is_found() -> None:
    assert makers((BUILT / "stages" / "resolve.c").read_text()) == {"resolve_learns"}
