"""Keys for tests of sealed files."""

import pyrage

from modelward.sealing import keys
from modelward.sealing.keys import Identity


def new_key() -> tuple[str, str]:
    """An identity and its recipient, as age-keygen prints them."""
    identity = pyrage.x25519.Identity.generate()
    return str(identity), str(identity.to_public())


def opened_by(text: str) -> Identity:
    (identity,) = keys.identities(text)
    return identity


def sealed(data: bytes, *recipients: str) -> bytes:
    return keys.seal(data, [keys.recipient(each) for each in recipients])
