"""`pip install .` installs every package of the tree: named one by one, a forgotten one is missed only there."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_package_is_installed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = [
        ".".join(init.parent.relative_to(ROOT).parts)
        for top in ("native", "protos", "proxy")
        for init in (ROOT / top).rglob("__init__.py")
    ]
    assert sorted(listed) == sorted(found)
