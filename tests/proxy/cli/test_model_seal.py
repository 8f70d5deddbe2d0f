"""`modelward model seal` and `unseal`: all files of a version there and back, or nothing written."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
from pathlib import Path

import numpy as np
import pytest

from modelward.cli.app import main
from modelward.sealing.header import is_sealed
from tests import models
from tests.proxy.sealing.support import new_key

KEY, RECIPIENT = new_key()


@pytest.fixture(autouse=True)
def unsecluded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of the tests stays one that can be looked into."""
    monkeypatch.setattr("modelward.sealing.process.seclude", lambda: None)
    monkeypatch.setattr("modelward.cli.model_unseal.seclude", lambda: None)


@pytest.fixture
def version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A version with weights in a file of their own, a canary, and what belongs to nothing."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "fraud" / "1"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(models.external_data(folder, "data/weights.bin"))
    np.savez(folder / "canary.npz", **{"input:x": np.ones((1, 4), np.float32)})
    (folder / "README").write_text("how it was trained")
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "recipients").write_text(f"# the servers\n{RECIPIENT}\n")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_version_is_sealed_and_unsealed(version: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "seal", "fraud/1", "--recipients-file", "recipients", "--out", "sealed"]) == 0
    sealed = contents(Path("sealed"))
    assert sealed.keys() == {"model.onnx", "data/weights.bin", "canary.npz"}
    assert all(map(is_sealed, sealed.values()))
    assert "README" in capsys.readouterr().err

    assert main(["model", "unseal", "sealed", "--identity", "key", "--out", "opened", "--json"]) == 0
    plain = contents(version)
    del plain["README"]
    assert contents(Path("opened")) == plain
    assert json.loads(capsys.readouterr().out)["key"] == RECIPIENT
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (Path("opened"), *Path("opened").iterdir())}
    assert modes == {0o700, 0o600}


def test_the_keys_of_a_configuration_unseal_too(version: Path) -> None:
    Path("modelward.yaml").write_text("sealing: {identities: [{command: [cat, key]}]}")
    main(["model", "seal", "fraud/1", "--recipient", RECIPIENT, "--out", "sealed"])

    assert main(["model", "unseal", "sealed", "--config", "modelward.yaml", "--out", "opened"]) == 0


@pytest.mark.skipif(shutil.which("age") is None, reason="needs age")
def test_age_itself_opens_what_is_sealed(version: Path) -> None:
    main(["model", "seal", "fraud/1", "--recipient", RECIPIENT, "--out", "sealed"])

    opened = subprocess.run(["age", "-d", "-i", "key", "sealed/model.onnx"], capture_output=True, check=True).stdout
    assert opened == (version / "model.onnx").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--out", "sealed"], "no recipient is named"),
        (["--recipient", "age1qqq", "--out", "sealed"], "this is no recipient"),
        (["--recipients-file", "none", "--out", "sealed"], "recipients cannot be read"),
        (["--recipient", RECIPIENT, "--out", "none/sealed"], "the folder cannot be written"),
        (["--recipient", RECIPIENT, "--out", "fraud"], "the folder is there already"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_written(
    version: Path, arguments: list[str], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(Path())

    assert main(["model", "seal", "fraud/1", *arguments]) == 1
    assert what in capsys.readouterr().err
    assert contents(Path()) == before


def test_a_sealed_version_is_not_sealed_again(version: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["model", "seal", "fraud/1", "--recipient", RECIPIENT, "--out", "sealed"])

    assert main(["model", "seal", "sealed", "--recipient", RECIPIENT, "--out", "again"]) == 1
    assert "the file is sealed already" in capsys.readouterr().err
    assert not Path("again").exists()


def test_the_wrong_key_and_no_key_unseal_nothing(version: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["model", "seal", "fraud/1", "--recipient", RECIPIENT, "--out", "sealed"])
    Path("other").write_text(new_key()[0])

    assert main(["model", "unseal", "sealed", "--identity", "other", "--out", "opened"]) == 1
    assert "the file is sealed for another key" in capsys.readouterr().err
    assert main(["model", "unseal", "sealed", "--out", "opened"]) == 1
    assert "there is no key to open the version with" in capsys.readouterr().err
    assert not Path("opened").exists()


def test_what_a_sealed_version_tells_is_shown(version: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["model", "seal", "fraud/1", "--recipient", RECIPIENT, "--recipient", new_key()[1], "--out", "sealed"])
    capsys.readouterr()

    assert main(["model", "show", "sealed", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert {file["name"] for file in shown["files"]} == {"model.onnx", "canary.npz", "data/weights.bin"}
    assert [file["sealed_for"] for file in shown["files"]] == [["X25519", "X25519"]] * 3
    assert main(["model", "show", "sealed"]) == 0
    assert "X25519, X25519" in capsys.readouterr().out
