"""The name of a version by its place in a repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelward.integrity.naming import name_by_path, names_version


def test_the_place_in_a_repository_names_model_and_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "fraud/7"
    folder.mkdir(parents=True)
    for name in ("model.onnx", "credit.onnx"):
        (folder / name).touch()
    assert name_by_path(folder) == name_by_path(folder / "model.onnx") == "fraud/7"
    assert name_by_path(folder / "credit.onnx") == "credit/1"
    monkeypatch.chdir(folder)
    assert name_by_path(Path()) == name_by_path(Path("model.onnx")) == "fraud/7"
    assert name_by_path(tmp_path / "fraud") == ""


def test_a_version_behind_a_link_is_named_as_it_is_served(tmp_path: Path) -> None:
    (tmp_path / "releases/31").mkdir(parents=True)
    (tmp_path / "fraud").mkdir()
    (tmp_path / "fraud/7").symlink_to(tmp_path / "releases/31")
    assert name_by_path(tmp_path / "fraud/7") == "fraud/7"


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("a/1", True), ("my model/12", True), ("a", False), ("1", False), ("a/0", False), ("a/01", False), ("/1", False),
     ("a/b/1", False), ("a/1\n", False), ("a/\u0661", False), ("", False)],
)  # fmt: skip
def test_only_model_and_version_is_a_versions_name(name: str, is_one: bool) -> None:
    assert names_version(name) is is_one
