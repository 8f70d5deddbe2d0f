"""What an installation puts into site-packages: two packages, each whole, beside whatever else is called proxy."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from zipfile import ZipFile

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


def pip(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pyproject.toml puts into it: all but compiled modules, which setup.py names by their folders in native/."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for folder in PACKAGES.values():
        shutil.copytree(folder, source / folder.name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    done = pip("wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", built, source)
    assert done.returncode == 0, done.stderr
    (found,) = built.glob("*.whl")
    return found


def top_level(wheel: Path) -> set[str]:
    return {name.split("/")[0] for name in ZipFile(wheel).namelist()}


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the distribution proxy.py: PyPI's, or where no index can be reached a stand-in, with a warning."""
    site = tmp_path_factory.mktemp("site")
    if pip("install", "--no-deps", "--retries", "0", "--timeout", "10", "--target", site, "proxy.py").returncode:
        warnings.warn("proxy.py cannot be had from an index: a stand-in is installed in its place", stacklevel=1)
        source = tmp_path_factory.mktemp("another")
        (source / "proxy").mkdir()
        (source / "proxy" / "__init__.py").touch()
        (source / "pyproject.toml").write_text(
            '[project]\nname = "proxy.py"\nversion = "0"\n[tool.setuptools]\npackages = ["proxy"]\n'
        )
        done = pip("install", "--no-deps", "--no-index", "--no-build-isolation", "--target", site, source)
        assert done.returncode == 0, done.stderr
    return site


def test_the_wheel_holds_the_two_packages_and_nothing_else(wheel: Path) -> None:
    (told,) = (name for name in top_level(wheel) if name.endswith(".dist-info"))
    assert top_level(wheel) == {*PACKAGES, told}
    assert not any(name.startswith("modelward_native/testing/") for name in ZipFile(wheel).namelist())


def test_the_distribution_proxy_py_is_installed_beside_it(wheel: Path, another: Path, tmp_path: Path) -> None:
    assert (another / "proxy").is_dir()
    assert not top_level(wheel) & {each.name for each in another.iterdir()}
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import proxy; "
        "import modelward.cli.app, modelward_native.wire.listener"
    )
    ended = subprocess.run(
        [sys.executable, "-c", f"{script}; print(proxy.__file__)", str(another)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.stdout, ended.stderr) == (f"{another / 'proxy' / '__init__.py'}\n", "")
