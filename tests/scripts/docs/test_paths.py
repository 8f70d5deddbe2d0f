"""Files and functions that the map, the designs and CONTRIBUTING.md name are there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelward.cli.schema import schema
from scripts.docs import DOCS, ROOT, configuration

MAP = ROOT / "ARCHITECTURE.md"
PAGES = [MAP, ROOT / "CONTRIBUTING.md", *sorted((DOCS / "design").glob("*.md"))]
NATIVE, PROXY = ROOT / "native" / "modelward_native", ROOT / "proxy" / "modelward"
TOPS = (ROOT, ROOT / "native", ROOT / "proxy", NATIVE, PROXY)
SOURCE = r"pyx|pxd|py|c|h|proto"
KEYS = {
    f"{section.path}.{key}".lstrip(".")
    for section in configuration.sections(schema())
    for key in section.node["properties"]
}
BUILT = {"build/site"}


def spans(text: str) -> list[str]:
    """What stands between backticks, outside of blocks of code."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def files() -> Iterator[Path]:
    for top in ("native", "proxy", "protos"):
        yield from (file for file in (ROOT / top).rglob("*") if file.suffix[1:] in SOURCE.split("|"))


FILES = [*files()]


def paths_in(text: str) -> set[str]:
    return {
        word
        for word in spans(text)
        if re.fullmatch(rf"[\w.*/-]+/[\w.*/-]*|[\w/-]+\.(?:{SOURCE}|md|toml|json|svg)", word)
        and not word.startswith("/")
    }


def is_there(path: str) -> bool:
    """A path from one of the tops, with or without the ending of a module, or the name of a source file anywhere."""
    if path in BUILT:
        return True
    for top in TOPS:
        if any(top.glob(path.rstrip("/"))) or any(top.glob(f"{path}.p*")):
            return True
    return "/" not in path and any(file.name == path for file in FILES)


def functions_in(text: str) -> set[tuple[str, str]]:
    """Module and name of each `module.name`; keys of the configuration are none."""
    found = {tuple(word.rsplit(".", 1)) for word in spans(text) if re.fullmatch(r"[\w/]+\.[A-Za-z_]\w*", word)}
    return {
        (module, name)
        for module, name in found
        if name not in (*SOURCE.split("|"), "md", "toml") and not is_key(f"{module}.{name}")
    }


def is_key(word: str) -> bool:
    return any(key == word or key.endswith(f".{word}") for key in KEYS)


def defines(module: str, name: str) -> bool:
    """A file of the module, or of the class, has the name."""
    for file in FILES:
        text = file.read_text() if file.suffix in (".pyx", ".pxd", ".py") else ""
        is_module = f"/{file.relative_to(ROOT).with_suffix('')}".endswith(f"/{module}")
        is_class = re.search(rf"^(?:cdef )?class {module}\b", text, re.MULTILINE)
        defined = rf"^ *(?:cdef|cpdef|def|async def|class)\b[^#\"(]*\b{name}\b|^{name} ?[=:\[]"
        if (is_module or is_class) and re.search(defined, text, re.MULTILINE):
            return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_are_there(page: Path) -> None:
    assert not {path for path in paths_in(page.read_text()) if not is_there(path) and path != "ARCHITECTURE.md"}


@pytest.mark.parametrize(
    "page", [MAP, ROOT / "CONTRIBUTING.md", DOCS / "design" / "stages.md"], ids=lambda page: page.name
)
def test_functions_are_there(page: Path) -> None:
    assert not {f"{module}.{name}" for module, name in functions_in(page.read_text()) if not defines(module, name)}


def modules_of_the_map() -> set[tuple[str, str]]:
    """Folder and name of every module of the data plane; a row without a folder belongs to the last one."""
    section = MAP.read_text().partition("## The data plane")[2].partition("\n## ")[0]
    found, folder = set(), ""
    for line in section.splitlines():
        if line.startswith("| `") or line.startswith("| |"):
            first, modules = (cell.strip() for cell in line.split("|")[1:3])
            folder = first.strip("`") or folder
            found |= {(folder, name) for name in spans(modules)}
    return found


def test_the_modules_in_the_map_are_there() -> None:
    found = modules_of_the_map()
    assert len(found) > 80
    assert not {
        f"{folder}{name}"
        for folder, name in found
        if not (NATIVE / folder / name).is_file() and not is_there(f"{folder}{name}")
    }


def test_every_module_of_the_data_plane_is_in_the_map() -> None:
    told = {(folder.strip("/"), name.partition(".")[0]) for folder, name in modules_of_the_map()}
    there = {(file.parent.name, file.stem) for file in NATIVE.rglob("*.pyx")}
    missing = {each for each in there - told if each[0] not in ("testing", "stages")}
    assert not missing


def test_every_package_of_the_control_plane_is_in_the_map() -> None:
    section = MAP.read_text().partition("## The control plane")[2].partition("\n## ")[0]
    told = {word.strip("/") for word in spans(section) if word.endswith("/")}
    there = {folder.parent.name for folder in PROXY.glob("*/__init__.py")}
    assert len(there) > 10
    assert not there - told


def test_the_modules_of_the_control_plane_in_the_map_are_there() -> None:
    section = MAP.read_text().partition("## The control plane")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("| `")]
    named = [
        (PROXY / folder, name)
        for first, second in rows
        for folder in [word for word in spans(first) if word.endswith("/")] or [""]
        for name in spans(second if folder else first)
    ]
    assert len(named) > 15
    assert not [f"{folder.name}/{name}" for folder, name in named if not (folder / f"{name}.py").is_file()]


def test_what_is_not_there_is_found() -> None:
    text = "`wire/nothing`, `nothing.c`, `pipeline.nothing`, `Pool.nothing`, `limits.peer`\n```\n`other/nothing`\n```\n"
    assert {path for path in paths_in(text) if not is_there(path)} == {"wire/nothing", "nothing.c"}
    assert functions_in(text) == {("pipeline", "nothing"), ("Pool", "nothing")}
    assert not any(defines(module, name) for module, name in functions_in(text))
    assert defines("pipeline", "begin_call")
    assert defines("Pool", "choose")
