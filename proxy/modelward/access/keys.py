"""API keys: made, kept as salted hashes in a file, and checked.

A key is mw_ID_SECRET with 256 random bits in SECRET. That cannot be guessed, so one fast hash (BLAKE2b with a salt)
is enough where a password would need scrypt, and checking a stranger's key costs microseconds instead of the tenth of a
second that would be a weapon. The file holds no secret, but a user who may write it may let any client in.
"""

import base64
import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from modelward.access.names import LONGEST, is_name
from modelward.atomic_file import replace_file
from modelward.bounded_file import open_regular
from modelward.problem import Problem, ProblemsFound

PREFIX = "mw"
ID_BYTES = 6
SECRET_BYTES = 32
SALT_BYTES = 16
HASH_BYTES = 32
LARGEST_FILE = 16 << 20
MODE = 0o600
SECTION = "access.keys"
_KEY = re.compile(rb"mw_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
HOW_FILE = "Write it with `modelward token add NAME --file FILE`"


class Key(Struct, frozen=True):
    """One line of the file. salt and hash: base64. Times: seconds since 1970; expires: None for never."""

    id: str
    name: str
    salt: str
    hash: str
    created: int
    expires: int | None = None

    def expired(self, now: float) -> bool:
        return self.expires is not None and self.expires <= now


def _hash(secret: bytes, salt: bytes) -> bytes:
    return hashlib.blake2b(secret, digest_size=HASH_BYTES, salt=salt, person=b"modelward-key").digest()


def make(name: str, expires: int | None = None) -> tuple[Key, str]:
    """A new key, and its text, which cannot be had again."""
    identifier = secrets.token_hex(ID_BYTES)
    secret = secrets.token_urlsafe(SECRET_BYTES)
    salt = secrets.token_bytes(SALT_BYTES)
    digest = _hash(secret.encode(), salt)
    kept = Key(identifier, name, _text(salt), _text(digest), int(time.time()), expires)
    return kept, f"{PREFIX}_{identifier}_{secret}"


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


class KeyRing:
    """The keys of one file at one moment."""

    def __init__(self, keys: tuple[Key, ...]) -> None:
        self.keys = keys
        self._by_id = {k.id.encode(): (k, base64.b64decode(k.salt), base64.b64decode(k.hash)) for k in keys}
        # what an unknown key is compared with, so that it takes as long as a known one
        self._no_key = (None, bytes(SALT_BYTES), bytes(HASH_BYTES))

    def find(self, credential: bytes) -> Key | None:
        """Whose key it is, expired or not; None where it is not known."""
        found = _KEY.fullmatch(credential)
        if found is None:
            return None
        key, salt, digest = self._by_id.get(found[1], self._no_key)
        return key if hmac.compare_digest(_hash(found[2], salt), digest) else None


def load(file: Path) -> KeyRing:
    """Reads the file. Raises ProblemsFound, also where others than its owner may write it."""
    try:
        with open_regular(file, LARGEST_FILE) as opened:
            data = opened.read(LARGEST_FILE + 1)
            mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
    except OSError as error:
        why = error.strerror or str(error)
        raise ProblemsFound([Problem(f"{SECTION} cannot be read", str(file), why, HOW_FILE)]) from error
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        what, why = (
            f"{SECTION} can be written by others (mode {mode:o})",
            "every user who can write it can let a client in",
        )
        raise ProblemsFound([Problem(what, str(file), why, f"chmod 600 {file}")])
    try:
        if len(data) > LARGEST_FILE:
            raise ValueError(f"it has more than {LARGEST_FILE} bytes")
        return KeyRing(tuple(_entry(entry) for entry in json.loads(data)["keys"]))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ProblemsFound([Problem(f"{SECTION} is no file of keys", str(file), _why(error), HOW_FILE)]) from error


def named(file: Path | None) -> list[str]:
    """Of whom the file has keys; none where it cannot be read."""
    try:
        return [key.name for key in load(file).keys] if file is not None else []
    except ProblemsFound:
        return []


def _why(error: Exception) -> str:
    return f"{error.args[0]} is missing" if isinstance(error, KeyError) and error.args else str(error)


def _entry(entry: Any) -> Key:
    key = Key(**{name: entry[name] for name in ("id", "name", "salt", "hash", "created")}, expires=entry.get("expires"))
    if not is_name(key.name):
        raise ValueError(f"the name of key {key.id!r} is empty, not printable or longer than {LONGEST} bytes")
    if re.fullmatch(r"[0-9a-f]{12}", key.id) is None:
        raise ValueError(f"{key.id!r} is no id")
    sizes = len(base64.b64decode(key.salt, validate=True)), len(base64.b64decode(key.hash, validate=True))
    if sizes != (SALT_BYTES, HASH_BYTES):
        raise ValueError(f"salt or hash of key {key.id} has the wrong size")
    if not isinstance(key.created, int) or not isinstance(key.expires, int | None):
        raise ValueError(f"a time of key {key.id} is no whole number")
    return key


def examine(file: Path) -> tuple[list[Problem], list[Problem]]:
    """Problems and notes of the file and its mode."""
    try:
        load(file)
        mode = stat.S_IMODE(file.stat().st_mode)
    except ProblemsFound as found:
        return list(found.problems), []
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        return [], [Problem(f"{SECTION} can be read by others (mode {mode:o})", str(file), how=f"chmod 600 {file}")]
    return [], []


@contextmanager
def editing(file: Path) -> Iterator[dict[str, Key]]:
    """Keys by id, to be changed; written as a whole on leaving, unless by an exception. One writer at a time."""
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # of the folder: the file itself is replaced
        fcntl.flock(folder, fcntl.LOCK_EX)
        keys = {key.id: key for key in load(file).keys} if file.exists() else {}
        yield keys
        _write(file, list(keys.values()))
    finally:
        os.close(folder)


def _write(file: Path, keys: list[Key]) -> None:
    replace_file(file, json.dumps({"keys": [asdict(key) for key in keys]}, indent=1) + "\n")
