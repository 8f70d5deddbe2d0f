"""Keys for tests of sealed files."""

import pyrage
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from modelward.sealing import keys
from modelward.sealing.keys import Identity


def new_key() -> tuple[str, str]:
    """An identity and its recipient, as age-keygen prints them."""
    identity = pyrage.x25519.Identity.generate()
    return str(identity), str(identity.to_public())


def ssh_key() -> tuple[str, str]:
    """An identity and its recipient."""
    secret = ed25519.Ed25519PrivateKey.generate()
    text = secret.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    return text, secret.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def opened_by(text: str) -> Identity:
    (identity,) = keys.identities(text)
    return identity


def sealed(data: bytes, *recipients: str) -> bytes:
    return keys.seal(data, [keys.recipient(each) for each in recipients])
