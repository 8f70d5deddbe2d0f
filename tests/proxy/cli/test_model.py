"""`modelward model sign`, `verify` and `show`: what a release pipeline and an operator do by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from modelward.cli.app import main
from modelward.config.load import load
from modelward.models.inventory import take_inventory
from tests import models
from tests.certificates import authority_file, write_pair
from tests.proxy.sealing.support import new_key
from tests.signing import keys

KEY, RECIPIENT = new_key()


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelward.integrity.signature.in_child", lambda bounds, function, *given: function(*given))
    monkeypatch.setattr("modelward.sealing.process.seclude", lambda: None)


@pytest.fixture
def version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    keys(tmp_path, 1)
    keys(tmp_path, 2)
    models.repository(tmp_path / "r", {"one": models.add_one()})
    return tmp_path / "r/one/1"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["model", *arguments])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_what_was_signed_is_verified_by_its_key_alone(version: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "sign", "r/one/1", "--key", "p256-1.key")
    assert code == 0 and "model.sig now covers all files of the folder" in out
    code, out, _ = run(capsys, "verify", "r/one/1", "--key", "p256-1.pub", "--json")
    told = json.loads(out)
    assert code == 0 and (told["signature"]["signer"], told["signature"]["kind"]) == ("p256-1.pub", "key")
    code, out, err = run(capsys, "verify", "r/one/1", "--key", "p256-2.pub")
    assert code == 1 and "no trusted key has made it" in err and not out
    code, out, _ = run(capsys, "show", "r/one/1")
    assert code == 0 and "not verified" in out


@pytest.mark.usefixtures("version")
def test_what_is_signed_is_one_version_of_one_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "as one/1" in run(capsys, "sign", "r/one/1", "--key", "p256-1.key")[1]
    assert "for one/1, not verified" in run(capsys, "show", "r/one/1")[1]
    verify = ("verify", "r/one/1", "--key", "p256-1.pub")
    assert run(capsys, *verify)[0] == run(capsys, *verify, "--model", "one")[0] == 0
    code, _, err = run(capsys, *verify, "--model", "two")
    assert code == 1 and "it is made for one/1, and this is two/1" in err
    assert run(capsys, "sign", "r/one/1", "--key", "p256-1.key", "--name", "two/1")[0] == 0
    assert run(capsys, *verify)[0] == 1
    assert run(capsys, *verify, "--model", "two")[0] == 0
    (tmp_path / "r/one/1").rename(tmp_path / "staged")
    code, _, err = run(capsys, "sign", "staged", "--key", "p256-1.key")
    assert code == 1 and "what the version is served as is not known" in err and "--name MODEL/VERSION" in err
    code, _, err = run(capsys, "sign", "staged", "--key", "p256-1.key", "--name", "two")
    assert code == 1 and "--name names no model and version" in err
    assert run(capsys, *verify[:1], "staged", *verify[2:])[0] == 0, "where it will lie is not known"


def test_a_file_that_changed_is_named(version: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "sign", "r/one/1", "--key", "p256-1.key")[0] == 0
    (version / "model.onnx").write_bytes(models.mlp())
    code, _, err = run(capsys, "verify", "r/one/1", "--key", "p256-1.pub")
    assert code == 1 and "the file is not the one that was signed" in err and "model.onnx" in err


def test_the_unsigned_is_told_with_how_to_sign_it(version: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "verify", "r/one/1", "--key", "p256-1.pub")
    assert code == 1 and "the version is not signed" in err and "modelward model sign" in err
    assert "signature  none" in run(capsys, "show", "r/one/1")[1]


def test_certificates_are_verified_by_authority_and_name(
    version: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    authority = trustme.CA()
    pair = write_pair(authority.issue_cert("ml@example.com"), tmp_path, "signer")
    authority_file(authority, tmp_path / "ca.pem")
    assert run(capsys, "sign", "r/one/1", "--key", str(pair.key), "--certificate", str(pair.certificate))[0] == 0
    assert run(capsys, "verify", "r/one/1", "--ca", "ca.pem", "--identity", "*@example.com")[0] == 0
    assert run(capsys, "verify", "r/one/1", "--ca", "ca.pem", "--identity", "*@example.org")[0] == 1


@pytest.mark.usefixtures("version")
def test_the_configuration_says_whom_to_trust(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "sign", "r/one/1", "--key", "p256-1.key")[0] == 0
    text = "integrity: {require: warn, keys: {release: p256-1.pub}, signers: {one: [other]}}"
    (tmp_path / "modelward.yaml").write_text(text)
    assert run(capsys, "verify", "r/one/1", "--config", "modelward.yaml")[0] == 0
    code, _, err = run(capsys, "verify", "r/one/1", "--config", "modelward.yaml", "--model", "one")
    assert code == 1 and "release is no signer of this model" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name whom to trust"),
        (["--ca", "ca.pem"], "name who may sign"),
        (["--trust-root", "root.json", "--identity", "a"], "belong together"),
    ],
)
def test_without_somebody_to_trust_it_is_wrong_usage(
    arguments: list[str], words: str, version: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, "verify", "r/one/1", *arguments)
    assert code == 2 and words in err


def test_a_key_that_is_none_is_told(version: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "none.key").write_text("nothing")
    code, _, err = run(capsys, "sign", "r/one/1", "--key", "none.key")
    assert code == 1 and "the version cannot be signed" in err
    assert not (version / "model.sig").exists()
    secret = keys(tmp_path, 5, password=b"word").private
    (tmp_path / "password").write_text("word\n")
    assert run(capsys, "sign", "r/one/1", "--key", str(secret))[0] == 1
    assert run(capsys, "sign", "r/one/1", "--key", str(secret), "--password-file", "password")[0] == 0


def test_a_sealed_version_is_signed_as_it_lies_on_disk(
    version: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key").write_text(KEY)
    assert run(capsys, "seal", "r/one/1", "--recipient", RECIPIENT, "--out", "s/one/1")[0] == 1  # no such folder
    (tmp_path / "s/one").mkdir(parents=True)
    assert run(capsys, "seal", "r/one/1", "--recipient", RECIPIENT, "--out", "s/one/1")[0] == 0
    assert run(capsys, "sign", "s/one/1", "--key", "p256-1.key")[0] == 0
    code, out, _ = run(capsys, "verify", "s/one/1", "--key", "p256-1.pub")
    assert code == 0 and "sealed model" in out
    sets = [f"repository={tmp_path / 's'}", f"integrity.keys.release={tmp_path / 'p256-1.pub'}"]
    sets.append(f"sealing.identities=[{{file: {tmp_path / 'key'}}}]")
    (model,) = take_inventory(load(None, sets, {})).models
    assert (model.provenance.signer, bool(model.artifact.sealed)) == ("release", True)
    file = tmp_path / "s/one/1/model.onnx"
    file.write_bytes(file.read_bytes()[:-1] + bytes([file.read_bytes()[-1] ^ 1]))
    assert not take_inventory(load(None, sets, {})).models


def test_a_key_of_another_kind_is_told_with_the_kinds_that_are_taken(
    version: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    secret = ed25519.Ed25519PrivateKey.generate().private_bytes(pem, form, serialization.NoEncryption())
    (tmp_path / "ed25519.key").write_bytes(secret)
    code, _, err = run(capsys, "sign", "r/one/1", "--key", "ed25519.key")
    assert code == 1 and "Attribute" not in err
    assert "Ed25519" in err and "P-256, P-384 or P-521" in err


def test_a_changed_file_is_not_to_be_signed_again(version: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "sign", "r/one/1", "--key", "p256-1.key")[0] == 0
    (version / "model.onnx").write_bytes(models.mlp())
    code, _, err = run(capsys, "verify", "r/one/1", "--key", "p256-1.pub")
    assert code == 1 and "Find out who changed it" in err


def test_without_pyrage_sealing_names_the_package(
    version: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, _, err = run(capsys, "seal", "r/one/1", "--recipient", RECIPIENT, "--out", "sealed")
    assert code == 1 and "sealing needs the package pyrage" in err
