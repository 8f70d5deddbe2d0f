"""The key under which callers are hashed where a version sticks to them, kept beside what else outlives the server.

Clients must not work out which version a header's value gets. The same key gives the same versions after a restart,
and on every server that has a copy of the file.
"""

from __future__ import annotations

import logging
import secrets
from pathlib import Path

from modelward.atomic_file import replace_file
from modelward.bounded_file import read_regular
from modelward.config.schema import Config
from modelward.config.state_folder import state_folder

log = logging.getLogger("modelward.promotion")

FILE = "sticky.key"
BYTES = 16
LARGEST = 4096


def sticky_key(config: Config, random: bytes) -> bytes:
    """The key of the state folder. random: what it is given where it has none, if versions stick to callers."""
    file = state_folder(config.state) / FILE
    try:
        return _read(file)
    except FileNotFoundError:
        if config.sticky_header is None and config.access is None and not config.captured:
            return random
    except (OSError, ValueError) as error:
        log.warning("%s cannot be used, so that callers may get other versions: %s. Remove it", file, error)
        return random
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(file, random.hex() + "\n")
    except OSError as error:
        why = error.strerror or error
        log.warning("%s cannot be written, so that callers may get other versions after a restart: %s", file, why)
    return random


def own_key(config: Config) -> bytes:
    """Of the state folder, or a new one, which is not kept."""
    try:
        return _read(state_folder(config.state) / FILE)
    except (OSError, ValueError):
        return secrets.token_bytes(BYTES)


def keep_key(config: Config, key: bytes) -> None:
    """That a fleet has, in the place of what the state folder has."""
    file = state_folder(config.state) / FILE
    try:
        if _read(file) == key:
            return
        log.warning("%s is another key than the fleet's, which takes its place: callers get other versions", file)
    except (OSError, ValueError):
        pass
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(file, key.hex() + "\n")
    except OSError as error:
        log.warning("%s cannot be written, so that callers may get other versions here: %s", file, error.strerror)


def kept_key(config: Config, key: bytes) -> dict[str, str]:
    """The file by its name, with what it holds, where it holds this key."""
    try:
        return {FILE: key.hex() + "\n"} if _read(state_folder(config.state) / FILE) == key else {}
    except (OSError, ValueError):
        return {}


def _read(file: Path) -> bytes:
    key = bytes.fromhex(read_regular(file, LARGEST).decode("ascii").strip())
    if len(key) != BYTES:
        raise ValueError(f"it holds {len(key)} bytes in place of {BYTES}")
    return key
