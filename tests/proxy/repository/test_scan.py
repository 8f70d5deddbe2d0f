"""Triton's repository layout, as found on disk."""

from pathlib import Path

import pytest

from modelward.repository.scan import Repository, default_profile, scan
from tests import models

MODEL = b"scanned, never opened"


def only_problem(repository: Repository) -> str:
    (problem,) = repository.problems
    return str(problem)


def test_models_and_versions_are_listed_in_order(tmp_path: Path) -> None:
    models.repository(tmp_path, {"b": {10: MODEL, 9: MODEL}, "a": MODEL})
    (tmp_path / "b/model.yaml").touch()
    found = scan(tmp_path)
    assert [(model.name, [version.number for version in model.versions]) for model in found.models] == [
        ("a", [1]),
        ("b", [9, 10]),
    ]
    assert [model.settings_file for model in found.models] == [None, tmp_path / "b/model.yaml"]
    assert found.models[0].versions[0].file == tmp_path / "a/1/model.onnx"
    assert (found.problems, found.notes) == ((), ())


def test_one_file_is_version_1_of_its_stem(tmp_path: Path) -> None:
    (tmp_path / "fraud.v2.onnx").write_bytes(MODEL)
    (model,) = scan(tmp_path / "fraud.v2.onnx").models
    assert (model.name, [version.number for version in model.versions]) == ("fraud.v2", [1])


def test_one_file_given_by_hand_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/x.onnx").write_bytes(MODEL)
    (tmp_path / "current.onnx").symlink_to("real/x.onnx")
    (model,) = scan(tmp_path / "current.onnx").models
    assert (model.name, model.versions[0].file, model.root) == ("current", tmp_path / "real/x.onnx", tmp_path / "real")


def test_a_profile_lies_beside_its_model() -> None:
    assert default_profile(Path("m/1/model.onnx")) == Path("m/1/profile.npz")
    assert default_profile(Path("fraud.v2.onnx")) == Path("fraud.v2.profile.npz")


@pytest.mark.parametrize("folder", ["0", "01", "-1", "v1", "1.0", "\u0661", "9" * 19])
def test_a_folder_that_is_no_version_is_ignored_and_told(tmp_path: Path, folder: str) -> None:
    models.repository(tmp_path, {"a": MODEL})
    (tmp_path / "a" / folder).mkdir()
    found = scan(tmp_path)
    assert [version.number for version in found.models[0].versions] == [1]
    assert [note.what for note in found.notes] == ["a folder that is no version is ignored"]


def test_tritons_own_settings_and_stray_models_are_told(tmp_path: Path) -> None:
    models.repository(tmp_path, {"a": MODEL})
    (tmp_path / "a/config.pbtxt").touch()
    (tmp_path / "stray.onnx").touch()
    (tmp_path / ".git").mkdir()
    (tmp_path / "README.md").touch()
    assert [note.where for note in scan(tmp_path).notes] == [f"{tmp_path}/a/config.pbtxt", f"{tmp_path}/stray.onnx"]


def test_an_empty_repository_says_where_a_model_goes(tmp_path: Path) -> None:
    assert "the repository is empty. Put a model at NAME/1/model.onnx" in only_problem(scan(tmp_path))


def test_a_model_without_versions_and_a_version_without_a_model_are_problems(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b/2").mkdir(parents=True)
    assert [str(problem) for problem in scan(tmp_path).problems] == [
        f"{tmp_path}/a: the model has no version. Put it at {tmp_path}/a/1/model.onnx",
        f"{tmp_path}/b/2: the version has no model.onnx. Put the model at {tmp_path}/b/2/model.onnx",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "a\nb",
        "a\x1b[31m",
        " a",
        "a ",
        "x" * 129,
        "é" * 65,
        "_other",
        "\u200b",
        b"\xff".decode(errors="surrogateescape"),
    ],
)
def test_a_name_that_would_not_survive_a_log_or_a_label_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name / "1").mkdir(parents=True)
    (tmp_path / name / "1/model.onnx").touch()
    found = scan(tmp_path)
    assert found.models == ()
    assert "name" in found.problems[0].what


def test_a_model_folder_that_links_out_of_the_repository_is_refused(tmp_path: Path) -> None:
    models.repository(tmp_path / "elsewhere", {"a": MODEL})
    models.repository(tmp_path / "repository", {"b": MODEL})
    (tmp_path / "repository/a").symlink_to(tmp_path / "elsewhere/a")
    found = scan(tmp_path / "repository")
    assert [model.name for model in found.models] == ["b"]
    assert "leaves the model's folder" in only_problem(found)


def test_what_is_neither_folder_nor_onnx_file_is_refused(tmp_path: Path) -> None:
    assert "no such file or folder" in only_problem(scan(tmp_path / "none"))
    (tmp_path / "model.pkl").touch()
    assert "does not end in .onnx" in only_problem(scan(tmp_path / "model.pkl"))
    assert "neither a folder nor a file" in only_problem(scan(Path("/dev/null")))


@pytest.mark.parametrize("version", ["1", ""], ids=["an empty version", "no version"])
def test_an_ensemble_of_triton_is_told_as_one(tmp_path: Path, version: str) -> None:
    (tmp_path / "ens" / version).mkdir(parents=True)
    (tmp_path / "ens/config.pbtxt").write_text('max_batch_size: 8\nplatform: "ensemble"\n')
    problem = only_problem(scan(tmp_path))
    assert "its config.pbtxt is that of an ensemble, which only Triton runs" in problem
    assert "models.ens.upstreams" in problem
    assert "Put" not in problem


def test_a_model_file_of_another_name_is_named(tmp_path: Path) -> None:
    (tmp_path / "m/1").mkdir(parents=True)
    (tmp_path / "m/1/net.onnx").write_bytes(MODEL)
    (tmp_path / "m/config.pbtxt").write_text('default_model_filename: "net.onnx"\n')
    assert "Rename net.onnx to model.onnx" in only_problem(scan(tmp_path))


def test_folders_of_the_file_system_are_no_models(tmp_path: Path) -> None:
    models.repository(tmp_path, {"a": MODEL})
    (tmp_path / "lost+found").mkdir()
    (tmp_path / ".snapshot/1").mkdir(parents=True)
    assert scan(tmp_path).names == ["a"]
    assert scan(tmp_path).problems == ()
