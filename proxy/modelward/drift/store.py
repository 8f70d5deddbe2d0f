"""What was learnt of each version, in a file each, so that it outlives the supervisor.

A file begins with a line: its format, and the SHA-256 of all that follows, an .npz of arrays without pickles. It is
written as a whole or not at all. One that is damaged, or of another format, is not used: that version is learnt again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct

from modelward.atomic_file import replacing
from modelward.bounded_file import read_regular
from modelward.drift.state import Arrays, StateError
from modelward.npz import DAMAGE, read_arrays

FORMAT = b"modelward drift 1 "
SUFFIX = ".drift"
LARGEST_FILE = 32 << 20
LARGEST_FACTS = 1 << 20
MOST_FILES = 64
SEPARATOR = "/"


class Kept(Struct, frozen=True):
    """settings: as JSON. sides: by side the facts and arrays of its watch."""

    model: str
    version: str
    digest: str
    settings: str
    sides: Mapping[str, tuple[Mapping[str, Any], Arrays]]

    @property
    def key(self) -> tuple[str, str]:
        return self.model, self.version


class Store:
    """folder: made when something is first kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, kept: Kept) -> None:
        """Raises OSError, and then what was kept before still is."""
        facts = {
            "model": kept.model,
            "version": kept.version,
            "digest": kept.digest,
            "settings": kept.settings,
            "sides": {side: facts for side, (facts, _) in kept.sides.items()},
        }
        arrays: dict[str, Any] = {"facts": np.frombuffer(json.dumps(facts).encode(), np.uint8)}
        for side, (_, held) in kept.sides.items():
            arrays |= {f"{side}{SEPARATOR}{name}": array for name, array in held.items()}
        packed = io.BytesIO()
        np.savez(packed, allow_pickle=False, **arrays)
        data = packed.getvalue()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing(self._file(kept.key)) as out:
            out.write(FORMAT + hashlib.sha256(data).hexdigest().encode() + b"\n")
            out.write(data)

    def load(self) -> Iterator[Kept | StateError]:
        """Of each file, the latest first, what it holds, or why that is not used. Raises OSError."""
        if not self.folder.is_dir():
            return
        files = sorted(self.folder.glob(f"*{SUFFIX}"), key=lambda file: -file.lstat().st_mtime)
        for file in files[:MOST_FILES]:
            try:
                yield _read(read_regular(file, LARGEST_FILE))
            except OSError as error:
                yield StateError(f"{file}: {error.strerror or error}")
            except StateError as error:
                yield StateError(f"{file}: {error}")

    def forget(self, but: Collection[tuple[str, str]]) -> None:
        """Of all versions but these. Raises OSError."""
        if not self.folder.is_dir():
            return
        names = {self._file(key).name for key in but}
        for file in self.folder.glob(f"*{SUFFIX}"):
            if file.name not in names:
                file.unlink(missing_ok=True)

    def _file(self, key: tuple[str, str]) -> Path:
        """Names may hold what a file system does not take."""
        return self.folder / f"{hashlib.sha256(os.fsencode(chr(0).join(key))).hexdigest()[:32]}{SUFFIX}"


def _read(data: bytes) -> Kept:
    """Raises StateError."""
    head, _, packed = data.partition(b"\n")
    if not head.startswith(FORMAT):
        raise StateError("it is of another format")
    if head != FORMAT + hashlib.sha256(packed).hexdigest().encode():
        raise StateError("it is damaged")
    try:
        arrays = read_arrays(packed, LARGEST_FILE)
        text = arrays.pop("facts").tobytes()
        if len(text) > LARGEST_FACTS:
            raise StateError("it tells too much")
        facts = json.loads(text)
        sides = {str(side): (dict(told), _of(arrays, str(side))) for side, told in facts["sides"].items()}
        model, version, digest, settings = (str(facts[name]) for name in ("model", "version", "digest", "settings"))
    except DAMAGE as error:
        raise StateError(f"it cannot be read: {error}") from error
    return Kept(model, version, digest, settings, sides)


def _of(arrays: Arrays, side: str) -> Arrays:
    begin = f"{side}{SEPARATOR}"
    return {name.removeprefix(begin): array for name, array in arrays.items() if name.startswith(begin)}
