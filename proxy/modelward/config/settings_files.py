"""The files that a configuration is read from: each read once, so that what was approved is what is followed."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

from modelward.problem import Problem
from modelward.repository.files import SETTINGS_FILE

MAIN = "configuration"
"""Name of the main file; the others are NAME/model.yaml."""


def digest_of(data: bytes) -> str:
    return f"sha256:{sha256(data).hexdigest()}"


def signatures_of(file: Path) -> Path:
    """Where approvers' signatures on a file lie (modelward.approvals.signatures)."""
    return file.with_name(f"{file.name}.sig")


def place_of(file: Path, model: str = "") -> str:
    """Name in SettingsFiles.texts of a file that is not read with others. model: whose it is, empty: as its folder says
    where it is a model.yaml."""
    if not model and file.name != SETTINGS_FILE:
        return MAIN
    # the folder as it is called, wherever links lead: a mounted ConfigMap's files are links into a folder with a date
    return f"{model or file.absolute().parent.name}/{SETTINGS_FILE}"


def unreadable(file: Path, error: OSError) -> Problem:
    """Why the main file is not read. error: as modelward.bounded_file raises it."""
    how = "Write it to a file, and name that with --config" if error.errno == errno.EINVAL else "Check --config"
    return Problem("the configuration cannot be read", str(file), error.strerror or str(error), how)


class SettingsFiles:
    """texts: by name what was read. places: where it lies. given: texts in place of what lies there, None without."""

    def __init__(self, given: Mapping[str, bytes] | None = None) -> None:
        self.texts: dict[str, bytes] = {}
        self.places: dict[str, Path] = {}
        self.given = given

    def take(self, name: str, place: Path | None, read: Callable[[Path], bytes]) -> bytes | None:
        """None where there is no such file. place: None where none lies there. Raises what `read` raises."""
        if self.given is None and place is not None:
            data: bytes | None = read(place)
        else:
            data = (self.given or {}).get(name)
        if data is not None:
            self.texts[name] = data
        if place is not None:
            self.places[name] = place
        return data

    @property
    def digest(self) -> str:
        """Of all of them: SHA-256 of what `sha256sum` would print of each, by name."""
        return digest_of(
            "".join(f"{sha256(self.texts[name]).hexdigest()}  {name}\n" for name in sorted(self.texts)).encode()
        )
