"""Signatures on configuration files: whose they are, of which file, and for how long."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from modelward.approvals.signatures import AHEAD, private_key, public_line, sign, signers
from modelward.audit.note import NotSigned
from modelward.problem import ProblemsFound

ADA, BOB, EVE = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2, 3))
KEYS = {"ada": public_line(ADA), "bob": public_line(BOB)}
TEXT, NOW, LIFE = b"approvals: {}\n", 1_800_000_000.0, 3600.0


def test_a_signature_is_of_one_file_and_of_a_known_key() -> None:
    note = sign(TEXT, "ada", ADA, NOW)
    assert signers(note, TEXT, KEYS, NOW, LIFE) == ("ada",)
    with pytest.raises(NotSigned, match="of another file"):
        signers(note, TEXT + b"#", KEYS, NOW, LIFE)
    for name, key in (("ada", EVE), ("eve", EVE)):
        with pytest.raises(NotSigned):
            signers(sign(TEXT, name, key, NOW), TEXT, KEYS, NOW, LIFE)


def test_several_sign_one_file_and_each_counts_once() -> None:
    note = sign(TEXT, "ada", ADA, NOW)
    both = sign(TEXT, "bob", BOB, NOW + 60, note)
    assert signers(both, TEXT, KEYS, NOW + 60, LIFE) == ("ada", "bob")
    again = sign(TEXT, "ada", ADA, NOW + 60, both)
    assert again.count(b" ada ") == 1
    other = sign(b"other", "bob", BOB, NOW, both)
    assert signers(other, b"other", KEYS, NOW, LIFE) == ("bob",), "those of another file do not stay"


def test_an_old_file_with_its_old_signature_is_no_approval() -> None:
    note = sign(TEXT, "ada", ADA, NOW)
    with pytest.raises(NotSigned, match="too long ago"):
        signers(note, TEXT, KEYS, NOW + LIFE, LIFE)
    with pytest.raises(NotSigned, match="in the future"):
        signers(note, TEXT, KEYS, NOW - AHEAD - 1, LIFE)


@pytest.mark.parametrize("note", [b"", b"modelward configuration\n", b"\xff" * 99, sign(TEXT, "ada", ADA, NOW)[:-9]])
def test_what_is_no_note_is_refused(note: bytes) -> None:
    with pytest.raises(NotSigned):
        signers(note, TEXT, KEYS, NOW, LIFE)


def test_a_key_is_read_from_pem_and_shown_as_openssl_does(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    file.write_bytes(ADA.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    assert public_line(private_key(file)) == KEYS["ada"]
    file.write_bytes(ADA.private_bytes(pem, pkcs8, serialization.BestAvailableEncryption(b"secret")))
    for broken in (file, tmp_path / "none", tmp_path):
        with pytest.raises(ProblemsFound, match="openssl genpkey"):
            private_key(broken)
