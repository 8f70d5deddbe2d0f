"""A wheel takes libraries whose package, version and licence are known."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from scripts.package import ROOT
from scripts.package.provided import Provided, provider


def test_a_library_of_no_package_is_refused(tmp_path: Path) -> None:
    library = tmp_path / "libnghttp2.so.14"
    library.touch()
    with pytest.raises(LookupError, match="no package of this system has it"):
        provider(library)


@pytest.mark.parametrize(
    ("version", "upstream"),
    [
        ("1.64.0-1.1+deb13u2", "1.64.0"),
        ("1.59.0-1ubuntu0.2", "1.59.0"),
        ("2:1.64.0-2.el10", "1.64.0"),
        ("1.70.0", "1.70.0"),
    ],
)
def test_the_version_of_a_package_begins_with_that_of_the_library(version: str, upstream: str) -> None:
    assert Provided("libnghttp2-14", version, "", b"").upstream_version == upstream


def test_every_python_that_is_supported_gets_a_wheel() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheels = settings["tool"]["cibuildwheel"]
    named = [each.rsplit(" ", 1)[1] for each in settings["project"]["classifiers"] if "Python :: 3" in each]
    assert wheels["build"] == [f"cp{each.replace('.', '')}-manylinux_*" for each in named]
    assert {"manylinux-x86_64-image", "manylinux-aarch64-image"} <= wheels.keys()
