"""Identities and recipients, as people write them."""

import base64
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from modelward.repository.files import SEALED
from modelward.sealing import keys
from modelward.sealing.header import MOST_RECIPIENTS, Damaged, NoMatch
from tests.proxy.sealing.support import new_key, opened_by, sealed, ssh_key

SECONDS = 60.0


def test_a_file_of_age_keygen_holds_identities() -> None:
    (one, first), (two, second) = new_key(), new_key()

    found = keys.identities(f"# created: 2026-11-29\n# public key: {first}\n{one}\n\n{two}\n")

    assert [each.name for each in found] == [first, second]
    assert found[1].open(sealed(b"weights", second), SECONDS) == b"weights"


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

    assert opened_by(text).open(data, SECONDS) == b"weights"
    assert "SHA256:" in opened_by(text).name
    with pytest.raises(NoMatch):
        opened_by(text).open(sealed(b"weights", new_key()[1]), SECONDS)
    with pytest.raises(Damaged):
        opened_by(text).open(data[:-1], SECONDS)


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


def unpadded(size: int) -> bytes:
    return base64.b64encode(os.urandom(size)).rstrip(b"=")


def with_stanzas(count: int, body: bytes) -> bytes:
    return (
        SEALED
        + (b"-> X25519 " + unpadded(32) + b"\n" + body + b"\n") * count
        + b"--- "
        + unpadded(32)
        + b"\n"
        + bytes(99)
    )


@pytest.mark.parametrize(
    ("count", "size", "words"), [(400, 32, "more than 256 recipients"), (9000, 32, "bytes"), (250, 1024, "bytes")]
)
def test_a_header_that_would_take_minutes_is_refused_at_once(count: int, size: int, words: str) -> None:
    """pyrage's time grows with the square of the header where the identity is a key of SSH."""
    body = unpadded(size)
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    began = time.monotonic()
    for text in (ssh_key()[0], new_key()[0]):
        with pytest.raises(Damaged, match=words):
            opened_by(text).open(with_stanzas(count, b"\n".join(lines)), SECONDS)
    assert time.monotonic() - began < 5


def test_as_many_recipients_as_can_be_sealed_for_can_open() -> None:
    (text, recipient), (own, mine) = ssh_key(), new_key()
    data = sealed(b"weights", *[mine] * (MOST_RECIPIENTS - 1), recipient)

    assert opened_by(own).open(data, SECONDS) == b"weights"
    assert opened_by(text).open(data, SECONDS) == b"weights"
    with pytest.raises(ValueError, match="more than 256 recipients"):
        sealed(b"weights", *[mine] * (MOST_RECIPIENTS + 2))


def test_comments_behind_a_recipient_are_none_of_it() -> None:
    _, mine = new_key()

    assert keys.lines(f"# all\n{mine} # of alice\n{mine}\t# of bob\nssh-rsa AAAA#B\n") == [mine, mine, "ssh-rsa AAAA#B"]
