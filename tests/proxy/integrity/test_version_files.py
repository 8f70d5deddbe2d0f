"""A version is what was signed, file by file, as it is loaded; else it is refused, or served with a warning."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from modelward.config.load import load
from modelward.config.schema import Config
from modelward.fingerprint import fingerprint
from modelward.integrity.signatures import verdicts_on
from modelward.integrity.version_files import VersionFiles
from modelward.models.inventory import CheckedVersion, Inventory, take_inventory
from modelward.models.opening import load_changed
from modelward.models.unnamed import unnamed
from modelward.problem import ProblemsFound
from modelward.repository.scan import scan
from modelward.sealing.opening import unseal_nothing
from tests import models
from tests.signing import keys, signed

X = np.zeros((1, 4), np.float32)
TRIES = 1000
OF_EACH = 10  # however the processes take turns


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signatures are verified where the test runs: a process for each of them would take its time."""
    monkeypatch.setattr("modelward.integrity.signature.in_child", lambda bounds, function, *given: function(*given))


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """The folder of a signed version of x [batch, 4] -> y = x + 1, with a canary and notes."""
    models.repository(tmp_path / "r", {"one": models.add_one()})
    folder = tmp_path / "r/one/1"
    canary(folder)
    (folder / "notes").mkdir()
    (folder / "notes/read.me").write_text("trained in May")
    signed(folder / "model.onnx", keys(tmp_path))
    return folder


def canary(folder: Path, add: float = 1) -> Path:
    np.savez(folder / "canary.npz", **{"input:x": X, "output:y": X + np.float32(add)})
    return folder / "canary.npz"


def config(folder: Path, *sets: str, require: object = "true") -> Config:
    key = keys(folder.parent.parent.parent).public
    base = (f"repository={folder.parent.parent}", f"integrity.require={require}", f"integrity.keys.release={key}")
    return load(None, [*base, *sets], {})


def inventory(folder: Path, *sets: str, require: object = "true") -> Inventory:
    return take_inventory(config(folder, *sets, require=require))


def refused(folder: Path, *sets: str) -> str:
    found = inventory(folder, *sets)
    assert not found.models
    (only,) = found.refused
    return "; ".join(map(str, only.problems))


def served(folder: Path, *sets: str, require: object = "true") -> CheckedVersion:
    found = inventory(folder, *sets, require=require)
    (model,) = found.models
    return model


def doubt(folder: Path) -> str:
    proved = served(folder, require="warn").provenance
    assert not proved.signer
    return proved.doubt


def test_what_was_signed_is_served_with_its_signers_name(version: Path) -> None:
    proved = served(version).provenance
    assert (proved.signer, proved.kind, proved.doubt) == ("release", "key", "")
    assert proved.digest.startswith("sha256:")
    assert served(version, require="warn").provenance == proved


def test_without_the_section_signatures_are_not_read(version: Path) -> None:
    (version / "model.sig").write_text("nonsense")
    assert served(version, require="off").provenance.doubt == ""
    (model,) = take_inventory(load(None, [f"repository={version.parent.parent}"], {})).models
    assert model.provenance.signer == ""


def test_the_unsigned_is_refused_or_served_with_a_warning(version: Path) -> None:
    (version / "model.sig").unlink()
    assert "the version is not signed" in refused(version)
    assert doubt(version) == "the version is not signed"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda folder: (folder / "model.onnx").write_bytes(models.mlp()), "model.onnx: the file is not the one"),
        (lambda folder: canary(folder, 2), "canary.npz: the file is not the one"),
        (lambda folder: (folder / "notes/read.me").write_text("trained in June"), "read.me: the file is not the one"),
        (lambda folder: (folder / "canary.npz").unlink(), "missing: canary.npz"),
        (lambda folder: (folder / "notes/read.me").unlink(), "missing: notes/read.me"),
        (lambda folder: (folder / "profile.npz").write_text("x"), "not signed: profile.npz"),
        (lambda folder: (folder / "notes/b").write_text(""), "not signed: notes/b"),
        (lambda folder: os.mkfifo(folder / "pipe"), "not signed: pipe"),
        (lambda folder: (folder / "link").symlink_to("model.onnx"), "links: link"),
        (lambda folder: (folder / "model.sig").write_text("{}"), "it has no mediaType"),
    ],
)
def test_a_version_that_is_another_is_refused(change: Callable[[Path], object], why: str, version: Path) -> None:
    change(version)
    assert why in refused(version)


def test_a_change_makes_it_doubtful_where_a_warning_is_enough(version: Path) -> None:
    canary(version, 1.0001)
    assert doubt(version) == "the file is not the one that was signed: its bytes are others"


def test_what_git_keeps_there_and_empty_folders_are_no_difference(version: Path) -> None:
    (version / ".git").mkdir()
    (version / ".git/config").write_text("x")
    (version / ".gitignore").write_text("x")
    (version / "empty").mkdir()
    assert served(version).provenance.signer == "release"


def test_a_signer_must_be_one_of_the_models(version: Path) -> None:
    assert "release is no signer of this model" in refused(version, "integrity.signers={on*: [other]}")
    assert "no signer of this model" in refused(version, "models.one.integrity={signers: other}")
    both = ("integrity.signers={on*: [other]}", "models.one.integrity={signers: rel*}")
    assert served(version, *both).provenance.signer == "release"
    assert served(version, "integrity.signers={two: [other]}").provenance.signer == "release"


@pytest.mark.parametrize("name", ["two/1", "one/2", "one/10"])
def test_a_signature_counts_for_one_version_of_one_model(name: str, version: Path, tmp_path: Path) -> None:
    signed(version / "model.onnx", keys(tmp_path), name=name)
    told = refused(version)
    assert f"the signature is another version's: it is made for {name}, and this is one/1" in told
    assert f"modelward model sign {version} --key KEY.pem --name one/1" in told
    assert doubt(version) == f"the signature is another version's: it is made for {name}, and this is one/1"


def test_a_version_that_is_put_elsewhere_is_not_the_one_that_was_signed(version: Path) -> None:
    shutil.copytree(version, version.with_name("10"))
    shutil.copytree(version, version.parent.parent / "two/1")
    found = inventory(version)
    assert [(model.name, model.version) for model in found.models] == [("one", "1")]
    told = {(each.name, each.version): str(each.problems[0]) for each in found.refused}
    assert "it is made for one/1, and this is one/10" in told["one", "10"]
    assert "it is made for one/1, and this is two/1" in told["two", "1"]


@pytest.mark.parametrize("name", ["1", "one", "org/one/1", "one/01", "one/latest", "/1"])
def test_a_signature_without_model_and_version_counts_as_the_configuration_says(
    name: str, version: Path, tmp_path: Path
) -> None:
    signed(version / "model.onnx", keys(tmp_path), name=name)
    model = served(version)
    assert (model.provenance.signer, model.provenance.unnamed) == ("release", True)
    (note,) = unnamed([model])
    assert "one version 1" in note.why
    assert "it names no model and version" in refused(version, "integrity.names=require")
    signed(version / "model.onnx", keys(tmp_path))
    model = served(version, "integrity.names=require")
    assert not model.provenance.unnamed and not unnamed([model])


def test_a_model_may_ask_for_less_or_more(version: Path) -> None:
    (version / "model.sig").unlink()
    assert served(version, "models.one.integrity={require: warn}").provenance.doubt
    assert not served(version, "models.one.integrity={require: off}").provenance.doubt
    found = inventory(version, "models.one.integrity={require: true}", require="warn")
    assert not found.models


def test_an_untrusted_file_of_the_configuration_stops_all(version: Path, tmp_path: Path) -> None:
    private = keys(tmp_path).private
    found = inventory(version, f"integrity.keys.mine={private}", f"integrity.keys.none={tmp_path / 'none'}")
    told = " ".join(map(str, found.general))
    assert "integrity.keys.mine holds a private key" in told and "integrity.keys.none cannot be read" in told


def test_a_profile_elsewhere_is_no_part_of_what_was_signed(version: Path, tmp_path: Path) -> None:
    (tmp_path / "other.npz").write_bytes(b"x")
    told = refused(version, f"models.one.anomaly={{mode: tag, profile: {tmp_path / 'other.npz'}}}")
    assert "the file is no part of the version that was signed" in told


def test_a_file_among_others_has_a_signature_of_its_own(version: Path, tmp_path: Path) -> None:
    file = version / "credit.onnx"
    file.write_bytes(models.add_one())
    beside = version / "credit.canary.npz"
    np.savez(beside, **{"input:x": X, "output:y": X + 1})
    assert signed(file, keys(tmp_path), beside).name == "credit.sig"
    key = f"integrity.keys.release={keys(tmp_path).public}"
    (model,) = take_inventory(load(None, [f"repository={file}", key], {})).models
    assert model.provenance.signer == "release"
    signed(file, keys(tmp_path))  # without its canary
    (only,) = take_inventory(load(None, [f"repository={file}", key], {})).refused
    assert "the signature does not name it" in str(only)


def test_a_signature_of_one_file_alone_covers_that_file_alone(version: Path, tmp_path: Path) -> None:
    signing = pytest.importorskip("model_signing.signing")
    file = tmp_path / "lone/credit.onnx"
    file.parent.mkdir()
    file.write_bytes(models.add_one())
    config = signing.Config().use_elliptic_key_signer(private_key=keys(tmp_path).private)
    config.sign(file, file.with_suffix(".sig"))
    sets = [f"repository={file}", f"integrity.keys.release={keys(tmp_path).public}"]
    (model,) = take_inventory(load(None, sets, {})).models
    assert model.provenance.signer == "release"
    canary(file.parent).rename(file.parent / "credit.canary.npz")
    assert "the signature does not name it" in str(take_inventory(load(None, sets, {})).refused)


def test_external_data_are_held_against_the_signature_too(tmp_path: Path) -> None:
    folder = tmp_path / "r/big/1"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(models.external_data(folder))
    signed(folder / "model.onnx", keys(tmp_path))
    assert served(folder).provenance.signer == "release"
    (folder / "weights.bin").write_bytes(bytes(16))
    assert "weights.bin: the file is not the one that was signed" in refused(folder)


class Kept:
    """A version that is open."""

    key, upstreams = ("one", "1"), ()

    def __init__(self, checked: CheckedVersion) -> None:
        self.checked = checked


def test_a_version_that_is_open_is_held_against_a_new_signature(version: Path) -> None:
    asked = config(version)
    (first,) = take_inventory(asked).models
    load_kept = load_changed({("one", "1"): Kept(first)}, asked)  # type: ignore[dict-item]
    (again,) = take_inventory(asked, load_kept).models
    assert again.artifact is first.artifact
    canary(version, 2)
    signed(version / "model.onnx", keys(version.parent.parent.parent))
    (after,) = take_inventory(asked, load_kept).models
    assert after.artifact is first.artifact and after.provenance != first.provenance
    (version / "model.sig").unlink()
    assert not take_inventory(asked, load_kept).models


SWAPPER = """
import os, shutil, sys, threading
good, bad, spare, file = sys.argv[1:]
swaps, over = 0, threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
print("swapping", flush=True)
while not over.is_set():
    for each in (bad, good):
        shutil.copyfile(each, spare)
        os.replace(spare, file)
        swaps += 1
print(swaps)
"""


def test_a_file_that_is_swapped_while_it_is_verified_is_never_the_one_that_is_loaded(
    version: Path, tmp_path: Path
) -> None:
    """Another process puts another model in its place and takes it back, over and over."""
    file, other = version / "model.onnx", onnx.load(version / "model.onnx")
    good = file.read_bytes()
    other.producer_name = "swapped"
    bad = other.SerializeToString()
    (tmp_path / "good").write_bytes(good)
    (tmp_path / "bad").write_bytes(bad)
    asked = config(version)
    (folder,) = scan(version.parent.parent).models
    verdict, trust = verdicts_on(asked, [folder])[file], asked.trust("one")
    files = (str(tmp_path / "good"), str(tmp_path / "bad"), str(tmp_path / "r/one/spare"), str(file))
    served = refused = 0
    command = [sys.executable, "-c", SWAPPER, *files]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as swapper:
        assert swapper.stdout is not None and swapper.stdout.readline() == "swapping\n"
        while served + refused < TRIES or min(served, refused) < OF_EACH:
            assert served + refused < 100 * TRIES, (served, refused)
            try:
                read = VersionFiles(folder.root, file, unseal_nothing, trust, verdict)
                data, _ = read.read(folder.root, file)
                read.end()
            except ProblemsFound:
                refused += 1
            else:
                served += 1
                assert data == good
        for model in (model for _ in range(OF_EACH) for model in take_inventory(asked).models):
            assert model.artifact.data == good
        swaps = int(swapper.communicate()[0])
    assert swaps > OF_EACH


def test_settings_in_the_repository_cannot_turn_it_off(version: Path) -> None:
    (version.parent / "model.yaml").write_text("integrity: {require: off}")
    (told,) = config(version, require="warn").unusable["one"]
    assert told.what == "model.yaml cannot set integrity"


def test_settings_in_the_repository_are_not_taken_where_signatures_are_required(version: Path) -> None:
    for settings in ("upstreams: ['evil.example:1']", "deadline: 1s"):
        (version.parent / "model.yaml").write_text(settings)
        assert "model.yaml is not taken" in refused(version)
    for loose in ("models.one.integrity={require: warn}", "integrity.require=warn", "integrity.require=off"):
        assert config(version, loose).settings("one").deadline == 10**9
    own = config(version, "models.one.integrity={require: true}", require="off")
    assert "model.yaml is not taken" in str(own.unusable["one"])


def test_a_section_that_trusts_nobody_is_a_mistake(version: Path) -> None:
    with pytest.raises(ProblemsFound, match="integrity trusts no signer"):
        load(None, [f"repository={version.parent.parent}", "integrity.require=warn"], {})
    with pytest.raises(ProblemsFound, match="no signer is trusted"):
        load(None, [f"repository={version.parent.parent}", "models.one.integrity={require: true}"], {})
    assert fingerprint([version / "model.onnx"])
