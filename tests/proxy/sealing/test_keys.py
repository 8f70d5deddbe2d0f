"""Identities and recipients, as people write them."""

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from modelward.sealing import keys
from modelward.sealing.header import Damaged, NoMatch
from tests.proxy.sealing.support import new_key, opened_by, sealed


def test_a_file_of_age_keygen_holds_identities() -> None:
    (one, first), (two, second) = new_key(), new_key()

    found = keys.identities(f"# created: 2026-11-29\n# public key: {first}\n{one}\n\n{two}\n")

    assert [each.name for each in found] == [first, second]
    assert found[1].open(sealed(b"weights", second)) == b"weights"


def test_an_identity_does_not_show_its_secret() -> None:
    text, _ = new_key()

    assert "SECRET" not in repr(opened_by(text))
    assert text not in repr(opened_by(text))


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_an_ssh_key_opens_what_is_sealed_for_it(kind: str) -> None:
    secret: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
    secret = ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else rsa.generate_private_key(65537, 2048)
    text = secret.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    recipient = secret.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    data = sealed(b"weights", recipient)

    assert opened_by(text).open(data) == b"weights"
    assert "SHA256:" in opened_by(text).name
    with pytest.raises(NoMatch):
        opened_by(text).open(sealed(b"weights", new_key()[1]))
    with pytest.raises(Damaged):
        opened_by(text).open(data[:-1])


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")
def test_an_ssh_key_with_a_passphrase_is_refused_with_the_reason(tmp_path: Path) -> None:
    file = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(file)], check=True)

    with pytest.raises(ValueError, match="passphrase"):
        keys.identities(file.read_text())


def test_an_ssh_key_of_another_kind_is_refused() -> None:
    secret = ec.generate_private_key(ec.SECP256R1())

    with pytest.raises(ValueError, match="ed25519 or RSA"):
        keys.identities(secret.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode())


def test_what_is_no_identity_is_refused_and_not_repeated() -> None:
    text, _ = new_key()
    for wrong in (text[:-1], text[:30], "secret words", "AGE-PLUGIN-NOSUCH-1QQQQ"):
        with pytest.raises(ValueError) as raised:
            keys.identities(wrong)
        assert wrong not in str(raised.value)
    with pytest.raises(ValueError, match="holds no identity"):
        keys.identities("# only a comment\n")


@pytest.mark.parametrize("text", ["age1qqqq", "ssh-ed25519 AAAA", "alice", "AGE-SECRET-KEY-1QQ", "age1yubikey1qqqq"])
def test_what_is_no_recipient_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no recipient"):
        keys.recipient(text)
