"""Recipients that files are sealed for, and identities that open them, in the words of `age` and of ssh.

pyrage is imported when one is read, and not before.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key
from msgspec import Struct

from modelward.child import Bounds, in_child
from modelward.config.sealing import Secret
from modelward.problem import Problem
from modelward.sealing import age
from modelward.sealing.header import MOST_RECIPIENTS, Damaged, NoMatch, read_header

log = logging.getLogger("modelward.sealing")

MOST = MOST_RECIPIENTS  # lines of a file
CHILD_MEMORY, COPIES = 1 << 30, 6  # bytes, and that many times the file's
HOW = "Give it lines as `age-keygen` writes them, or an SSH key without a passphrase"
X25519, PLUGIN, SSH = "AGE-SECRET-KEY-1", "AGE-PLUGIN-", "-----BEGIN "
NO_MATCH = "No matching keys found"  # in pyrage's words


class _Unattended:
    """What a plugin of age may ask a person. There is none."""

    def display_message(self, message: str) -> None:
        log.info("a plugin says: %s", message[:200])

    def confirm(self, message: str, yes_string: str, no_string: str | None) -> None:
        return

    def request_public_string(self, description: str) -> None:
        return

    def request_passphrase(self, description: str) -> None:
        return


@dataclass(frozen=True, slots=True)
class Identity:
    """What opens files. name: says which it is, and is no secret: the recipient that belongs to it, where it tells.
    other: an identity that pyrage reads, where there is no secret of our own reader."""

    name: str
    secret: X25519PrivateKey | None = field(repr=False)
    other: str = field(default="", repr=False)

    def open(self, data: bytes, seconds: float) -> bytes:
        """What was sealed. Raises NoMatch, Damaged, and ChildEnded where that took longer.

        pyrage keeps the interpreter to itself while it works, and a plugin may wait for ever: both in a child process.
        """
        if self.secret is not None:
            return age.decrypt(data, self.secret)
        read_header(data)  # which bounds it
        return in_child(Bounds(seconds, CHILD_MEMORY + COPIES * len(data)), open_by_pyrage, self.other, data)


def open_by_pyrage(identity: str, data: bytes) -> bytes:
    """In a child process. Raises NoMatch, Damaged."""
    import pyrage  # noqa: PLC0415

    try:
        return bytes(pyrage.decrypt(data, [_of_pyrage(identity)]))
    except pyrage.DecryptError as error:
        if str(error) == NO_MATCH:
            raise NoMatch from None
        raise Damaged(str(error)) from None


def _of_pyrage(text: str) -> Any:
    import pyrage  # noqa: PLC0415

    if text.startswith(PLUGIN):
        plugin = pyrage.plugin.Identity.from_str(text)
        return pyrage.plugin.IdentityPluginV1(plugin.plugin(), [plugin], _Unattended())
    return pyrage.ssh.Identity.from_buffer(text.encode())


class Found(Struct, frozen=True):
    """identities: of all sources that could be read. problems: with the others."""

    identities: tuple[Identity, ...] = ()
    problems: tuple[Problem, ...] = ()


def identities_of(secrets: Iterable[Secret]) -> Found:
    """A source that gave none is no hindrance for others."""
    found: list[Identity] = []
    problems: list[Problem] = []
    for secret in secrets:
        fault, how = secret.fault, secret.how
        if not fault:
            try:
                found += identities(secret.text)
            except ValueError as error:
                fault, how = str(error), HOW
        if fault:
            problems.append(Problem("a key that opens sealed models cannot be read", secret.name, fault, how))
    return Found(tuple(found), tuple(problems))


def identities(text: str) -> list[Identity]:
    """Of a file as `age-keygen` writes it, or of an SSH key. Raises ValueError, whose words hold nothing of it."""
    if text.lstrip().startswith(SSH):
        return [_of_ssh(text.strip() + "\n")]
    found = [_identity(line) for line in lines(text)]
    if not found:
        raise ValueError("it holds no identity")
    return found


def lines(text: str) -> list[str]:
    """Of a file of identities or recipients: without comments, also those behind blanks. Raises ValueError."""
    stripped = [re.split(r"\s#", line.strip(), maxsplit=1)[0].rstrip() for line in text.splitlines()]
    found = [line for line in stripped if line and not line.startswith("#")]
    if len(found) > MOST:
        raise ValueError(f"it has more than {MOST} lines")
    return found


def _identity(line: str) -> Identity:
    import pyrage  # noqa: PLC0415

    try:
        if line.startswith(X25519):
            own = pyrage.x25519.Identity.from_str(line)
            return Identity(str(own.to_public()), age.secret_of(line))
        if line.startswith(PLUGIN):
            _of_pyrage(line)
            return Identity(f"plugin {pyrage.plugin.Identity.from_str(line).plugin()}", None, line)
    except pyrage.IdentityError:
        raise ValueError("a line is no identity of age: it is not complete, or has another letter") from None
    except pyrage.DecryptError as error:
        raise ValueError(f"its plugin cannot be used: {error}") from None
    raise ValueError("a line is neither an identity of age nor a private key of ssh")


def _of_ssh(text: str) -> Identity:
    import pyrage  # noqa: PLC0415

    try:
        _of_pyrage(text)
        public = load_ssh_private_key(text.encode(), None).public_key()
    except (pyrage.IdentityError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        why = "it needs a passphrase" if "decrypt" in str(error) or "assword" in str(error) else "it cannot be read"
        raise ValueError(f"{why}, for a private key of ssh: ed25519 or RSA, not encrypted") from None
    kind, encoded = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode().split(" ")[:2]
    digest = base64.b64encode(hashlib.sha256(base64.b64decode(encoded)).digest()).decode().rstrip("=")
    return Identity(f"{kind} SHA256:{digest}", None, text)


def recipient(text: str) -> Any:
    """As pyrage takes it. Raises ValueError."""
    import pyrage  # noqa: PLC0415

    kind = text.rpartition("1")[0]  # of Bech32
    try:
        if text.startswith("ssh-"):
            return pyrage.ssh.Recipient.from_str(text)
        if kind == "age":
            return pyrage.x25519.Recipient.from_str(text)
        if kind.startswith("age1"):
            plugin = pyrage.plugin.Recipient.from_str(text)
            return pyrage.plugin.RecipientPluginV1(plugin.plugin(), [plugin], [], _Unattended())
    except (pyrage.RecipientError, pyrage.EncryptError) as error:
        raise ValueError(f"{text[:100]!r} is no recipient: {error}") from None
    raise ValueError(f"{text[:100]!r} is no recipient: write age1..., or a public key of ssh")


def seal(data: bytes, whom: Sequence[Any]) -> bytes:
    """whom: as `recipient` gives them, at least one. Raises ValueError for more than can be opened again."""
    import pyrage  # noqa: PLC0415

    sealed = bytes(pyrage.encrypt(data, list(whom)))
    try:
        read_header(sealed)
    except Damaged as error:
        raise ValueError(str(error)) from None
    return sealed
