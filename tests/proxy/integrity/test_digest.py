"""One digest for all files of a version, which a signature names too."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest

from modelward.cli.app import main
from modelward.config.load import load
from modelward.integrity.digest import root_digest
from modelward.models.inventory import CheckedVersion, take_inventory
from modelward.models.opening import load_changed
from tests import models


def checked(folder: Path) -> CheckedVersion:
    (model,) = take_inventory(load(None, [f"repository={folder}"], {})).models
    return model


def sha256(file: Path) -> bytes:
    return hashlib.sha256(file.read_bytes()).digest()


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """The folder of a version of x [batch, 4] -> y = x + 1, with a canary."""
    models.repository(tmp_path, {"one": models.add_one()})
    x = np.zeros((1, 4), np.float32)
    np.savez(tmp_path / "one/1/canary.npz", **{"input:x": x, "output:y": x + 1})
    return tmp_path / "one/1"


def test_the_digest_is_that_of_the_files_in_the_order_of_their_names(version: Path) -> None:
    whole = hashlib.sha256(sha256(version / "canary.npz") + sha256(version / "model.onnx")).hexdigest()
    assert checked(version.parent.parent).provenance.digest == f"sha256:{whole}"
    assert root_digest({"b": "02", "a": "01"}) == f"sha256:{hashlib.sha256(bytes([1, 2])).hexdigest()}"


def test_another_canary_is_another_digest(version: Path) -> None:
    before = checked(version.parent.parent).provenance.digest
    (version / "canary.npz").unlink()
    after = checked(version.parent.parent).provenance.digest
    assert before != after
    assert after == f"sha256:{hashlib.sha256(sha256(version / 'model.onnx')).hexdigest()}"


def test_external_data_are_part_of_it_and_are_read_once(tmp_path: Path) -> None:
    (tmp_path / "big/1").mkdir(parents=True)
    (tmp_path / "big/1/model.onnx").write_bytes(models.external_data(tmp_path / "big/1"))
    before = checked(tmp_path)
    names = sorted(file.name for file in (tmp_path / "big/1").iterdir())
    assert len(names) > 1
    assert before.provenance.digest == root_digest({name: sha256(tmp_path / "big/1" / name).hex() for name in names})
    assert len(before.artifact.hashes) == len(before.artifact.files) == len(names)


def test_a_version_that_stays_open_keeps_its_digest(version: Path) -> None:
    config = load(None, [f"repository={version.parent.parent}"], {})
    (first,) = take_inventory(config).models

    class Kept:
        key, upstreams, checked = ("one", "1"), (), first

    (again,) = take_inventory(config, load_changed({("one", "1"): Kept}, config)).models  # type: ignore[dict-item]
    assert again.artifact is first.artifact
    assert again.provenance == first.provenance


def test_show_tells_the_same_digest_and_every_file(version: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "show", str(version), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["digest"] == checked(version.parent.parent).provenance.digest
    assert [(each["name"], each["kind"]) for each in told["files"]] == [
        ("canary.npz", "canary"),
        ("model.onnx", "model"),
    ]


def test_show_says_where_there_is_no_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "show", str(tmp_path / "none")]) == 1
    assert "there is no such version" in capsys.readouterr().err
    os.mkdir(tmp_path / "empty")
    assert main(["model", "show", str(tmp_path / "empty")]) == 1
