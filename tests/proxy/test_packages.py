"""What an installation puts into site-packages: two packages, each whole, beside whatever else is called proxy."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from setuptools.config.pyprojecttoml import read_configuration

ROOT = Path(__file__).parents[2]
PACKAGES = {"modelward": ROOT / "proxy", "modelward_native": ROOT / "native"}


@pytest.fixture(scope="module")
def packages() -> set[str]:
    """As setuptools finds them."""
    return set(read_configuration(ROOT / "pyproject.toml")["tool"]["setuptools"]["packages"])


def test_only_the_two_packages_are_installed(packages: set[str]) -> None:
    assert {name.split(".")[0] for name in packages} == set(PACKAGES)


def test_every_folder_of_code_is_installed_but_what_only_tests_use(packages: set[str]) -> None:
    folders = {
        ".".join(file.parent.relative_to(source).parts)
        for source in PACKAGES.values()
        for pattern in ("*.py", "*.pyx")
        for file in source.rglob(pattern)
    }
    assert folders - packages == {"modelward_native.testing"}
    assert packages - folders == set()


def test_the_data_plane_imports_nothing_of_the_control_plane() -> None:
    sources = [f for p in ("*.py", "*.pyx", "*.pxd", "*.pyi") for f in PACKAGES["modelward_native"].rglob(p)]
    upwards = re.compile(r"^\s*(from|c?import)\s+modelward\b", re.MULTILINE)
    assert len(sources) > 50
    assert [str(source) for source in sources if upwards.search(source.read_text())] == []


def test_another_distribution_may_be_called_proxy(tmp_path: Path) -> None:
    (tmp_path / "proxy").mkdir()
    (tmp_path / "proxy" / "__init__.py").write_text("NAME = 'another'\n")
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import proxy; "
        "import modelward.cli.app, modelward_native.wire.listener"
    )
    ended = subprocess.run(
        [sys.executable, "-c", f"{script}; print(proxy.NAME)", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.stdout, ended.stderr) == ("another\n", "")
