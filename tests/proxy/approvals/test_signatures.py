"""Signatures on configuration files: whose they are, of which file, and for how long."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from modelward.approvals.signatures import AHEAD, private_key, public_line, sign, signers
from modelward.audit.note import NotSigned
from modelward.config.settings_files import MAIN, place_of
from modelward.problem import ProblemsFound

ADA, BOB, EVE = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2, 3))
KEYS = {"ada": public_line(ADA), "bob": public_line(BOB)}
TEXT, NOW, LIFE = b"approvals: {}\n", 1_800_000_000.0, 3600.0


def test_a_signature_is_of_one_file_and_of_a_known_key() -> None:
    note = sign(TEXT, MAIN, "ada", ADA, now=NOW)
    assert signers(note, TEXT, MAIN, KEYS, now=NOW, life=LIFE) == ("ada",)
    with pytest.raises(NotSigned, match="of another file"):
        signers(note, TEXT + b"#", MAIN, KEYS, now=NOW, life=LIFE)
    for name, key in (("ada", EVE), ("eve", EVE)):
        with pytest.raises(NotSigned):
            signers(sign(TEXT, MAIN, name, key, now=NOW), TEXT, MAIN, KEYS, now=NOW, life=LIFE)


def test_what_was_signed_for_one_model_is_no_approval_for_another(tmp_path: Path) -> None:
    note = sign(TEXT, "other/model.yaml", "ada", ADA, now=NOW)
    assert signers(note, TEXT, "other/model.yaml", KEYS, now=NOW, life=LIFE) == ("ada",)
    for place in (MAIN, "add/model.yaml"):
        with pytest.raises(NotSigned, match=f"it is for other/model.yaml, not for {place}"):
            signers(note, TEXT, place, KEYS, now=NOW, life=LIFE)
    again = sign(TEXT, "add/model.yaml", "bob", BOB, now=NOW, before=note)
    assert signers(again, TEXT, "add/model.yaml", KEYS, now=NOW, life=LIFE) == ("bob",), (
        "those for another place do not stay"
    )


@pytest.mark.parametrize(
    ("file", "model", "place"),
    [
        ("guard.yaml", "", MAIN),
        ("fraud/model.yaml", "", "fraud/model.yaml"),
        ("fraud.new.yaml", "fraud", "fraud/model.yaml"),
    ],
)
def test_a_file_is_signed_for_its_place(file: str, model: str, place: str, tmp_path: Path) -> None:
    assert place_of(tmp_path / file, model) == place


def test_a_file_behind_links_is_signed_for_the_folder_that_has_the_link(tmp_path: Path) -> None:
    (tmp_path / "fraud").mkdir()
    (tmp_path / "..2026_01_31").mkdir()
    (tmp_path / "..2026_01_31" / "model.yaml").touch()
    (tmp_path / "fraud" / "model.yaml").symlink_to(tmp_path / "..2026_01_31" / "model.yaml")
    assert place_of(tmp_path / "fraud" / "model.yaml") == "fraud/model.yaml"


def test_several_sign_one_file_and_each_counts_once() -> None:
    note = sign(TEXT, MAIN, "ada", ADA, now=NOW)
    both = sign(TEXT, MAIN, "bob", BOB, now=NOW + 60, before=note)
    assert signers(both, TEXT, MAIN, KEYS, now=NOW + 60, life=LIFE) == ("ada", "bob")
    again = sign(TEXT, MAIN, "ada", ADA, now=NOW + 60, before=both)
    assert again.count(b" ada ") == 1
    other = sign(b"other", MAIN, "bob", BOB, now=NOW, before=both)
    assert signers(other, b"other", MAIN, KEYS, now=NOW, life=LIFE) == ("bob",), "those of another file do not stay"


def test_an_old_file_with_its_old_signature_is_no_approval() -> None:
    note = sign(TEXT, MAIN, "ada", ADA, now=NOW)
    with pytest.raises(NotSigned, match="too long ago"):
        signers(note, TEXT, MAIN, KEYS, now=NOW + LIFE, life=LIFE)
    with pytest.raises(NotSigned, match="in the future"):
        signers(note, TEXT, MAIN, KEYS, now=NOW - AHEAD - 1, life=LIFE)


def test_a_signature_on_a_file_whose_place_another_has_taken_since_counts_when_it_is_made_again() -> None:
    note = sign(TEXT, MAIN, "ada", ADA, now=NOW)
    assert signers(note, TEXT, MAIN, KEYS, now=NOW + 99, life=LIFE, after=NOW - 1) == ("ada",)
    with pytest.raises(NotSigned, match="another file has taken its place since it was signed"):
        signers(note, TEXT, MAIN, KEYS, now=NOW + 99, life=LIFE, after=NOW + 50)
    beside = sign(TEXT, MAIN, "bob", BOB, now=NOW + 60, before=note)
    with pytest.raises(NotSigned, match="another file has taken its place"):
        signers(beside, TEXT, MAIN, KEYS, now=NOW + 99, life=LIFE, after=NOW + 50)
    again = sign(TEXT, MAIN, "ada", ADA, now=NOW + 61, before=beside)
    assert signers(again, TEXT, MAIN, KEYS, now=NOW + 99, life=LIFE, after=NOW + 50) == ("ada",), "bob's was for then"


@pytest.mark.parametrize(
    "note", [b"", b"modelward configuration\n", b"\xff" * 99, sign(TEXT, MAIN, "ada", ADA, now=NOW)[:-9]]
)
def test_what_is_no_note_is_refused(note: bytes) -> None:
    with pytest.raises(NotSigned):
        signers(note, TEXT, MAIN, KEYS, now=NOW, life=LIFE)


def test_a_key_is_read_from_pem_and_shown_as_openssl_does(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    file.write_bytes(ADA.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    assert public_line(private_key(file)) == KEYS["ada"]
    file.write_bytes(ADA.private_bytes(pem, pkcs8, serialization.BestAvailableEncryption(b"secret")))
    for broken in (file, tmp_path / "none", tmp_path):
        with pytest.raises(ProblemsFound, match="openssl genpkey"):
            private_key(broken)
