"""The key that signs a log's checkpoints: made at the first start, and never changed.

Both files have the form of the field's tools: NAME+KEYID+KEY, of the private one behind `PRIVATE+KEY+`.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path

from modelward.atomic_file import replace_file
from modelward.audit.note import ED25519, OtherKey, Signer, Verifier, is_name
from modelward.bounded_file import read_regular
from modelward.problem import Problem, ProblemsFound

PRIVATE = "key"
PUBLIC = "key.pub"
SEED = 32
LARGEST_FILE = 4096
_BEFORE = "PRIVATE+KEY+"
HOW = (
    "The server makes it when it starts for the first time. Name its folder with --state or its configuration with "
    "--config, or give the key with --key"
)
LOST = "Put the key back from where it is kept; or move the folder of the log away to begin another one"


def load(folder: Path) -> Signer:
    """Raises ProblemsFound, FileNotFoundError."""
    file = folder / PRIVATE
    try:
        text = read_regular(file, LARGEST_FILE).decode()
        signer = _parsed(text.strip())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(*error.args) from None
    except OSError as error:
        how = "Let the server read it, and no other user"
        problem = Problem("the key of the log cannot be read", str(file), error.strerror or "", how)
        raise ProblemsFound([problem]) from None
    except ValueError as error:
        raise ProblemsFound([Problem("this is no key of a log", str(file), str(error), LOST)]) from None
    return signer


def load_or_make(folder: Path, name: str, *, begun: bool) -> Signer:
    """name: of the log, where the key is made now. begun: whether the log has records: then none is made.

    Raises ProblemsFound.
    """
    try:
        signer = load(folder)
    except FileNotFoundError:
        if begun:
            raise ProblemsFound([lost(folder)]) from None
        signer = _make(folder, name)
    return signer


def lost(folder: Path) -> Problem:
    return Problem("the log has lost its key", str(folder / PRIVATE), how=LOST)


def of_another(where: str, error: OtherKey, folder: Path | None) -> Problem:
    """A log that this server's key has not signed. folder: of that key, where it is known."""
    to = folder if folder is not None else "the folder of the audit trail"
    how = (
        f"Bring {PRIVATE} and {PUBLIC} of the server that wrote it to {to}; or begin a new log: move these two away "
        "from there, and set audit.name to another name"
    )
    return Problem("the log that lies there was signed by another key", where, str(error), how)


def public_key(folder: Path) -> Verifier:
    """Of the log whose key is kept there. Raises ProblemsFound."""
    file = folder / PUBLIC
    try:
        return Verifier.parse(read_regular(file, LARGEST_FILE).decode())
    except OSError as error:
        problem = Problem("there is no public key of a log", str(file), error.strerror or "", HOW)
        raise ProblemsFound([problem]) from None
    except ValueError as error:
        raise ProblemsFound([Problem("this is no public key of a log", str(file), str(error))]) from None


def written(signer: Signer) -> str:
    """The private key as its file holds it."""
    kept = base64.b64encode(bytes([signer.kind]) + signer.seed).decode()
    return f"{_BEFORE}{signer.name}+{signer.verifier.key_id.hex()}+{kept}"


def _parsed(text: str) -> Signer:
    name, _, rest = text.removeprefix(_BEFORE).partition("+")
    identity, _, encoded = rest.partition("+")
    kept = base64.b64decode(encoded, validate=True)
    if not text.startswith(_BEFORE) or not is_name(name) or len(kept) != 1 + SEED or kept[0] != ED25519:
        raise ValueError(f"it reads {_BEFORE}NAME+KEYID+KEY, of Ed25519")
    signer = Signer(name, kept[1:])
    if signer.verifier.key_id.hex() != identity:
        raise ValueError("its id is not that of its key: it was cut or changed")
    return signer


def _make(folder: Path, name: str) -> Signer:
    signer = Signer(name, os.urandom(SEED))
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(folder / PUBLIC, f"{signer.verifier}\n")
        replace_file(folder / PRIVATE, written(signer) + "\n")
    except OSError as error:
        why, how = error.strerror or "", "Set audit.folder, or state, to a folder that the server may write"
        raise ProblemsFound([Problem("the key of the audit trail cannot be made", str(folder), why, how)]) from None
    return signer
