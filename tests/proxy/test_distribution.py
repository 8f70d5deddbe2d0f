"""Releases of installed packages, as their installers name them."""

from importlib.metadata import version
from pathlib import Path

import pytest

from modelward.distribution import release_of


@pytest.mark.parametrize("package", ["modelward", "onnxruntime", "uvloop"])
def test_a_release_is_the_one_that_the_metadata_tell(package: str) -> None:
    assert release_of(package) == version(package)


def test_the_first_on_the_path_counts_and_what_is_not_installed_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a/some_package-2.0rc1.dist-info", "b/some_package-3.0.dist-info", "b/some_package_more-1.dist-info"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr("sys.path", [str(tmp_path / name) for name in ("none", "a", "b")])
    assert release_of("some_package") == "2.0rc1"
    assert release_of("package") == "unknown"
    assert release_of("some_package_") == "unknown"
