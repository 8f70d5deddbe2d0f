"""The folder of captured files: where each lies, how it is written and when it is removed.

    FOLDER/model=NAME/version=VERSION/date=2026-01-31/part=clean/120000-1a2b3c4d.parquet

Where all rows are of one identity that sends much, its hash stands in the name:
120000-1a2b3c4d-35aa01ce91e4b470.parquet.

A file is there as a whole or not at all. Requests are their callers' data: folders (mode 0700) and files (0600) are for
this user alone.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from modelward.atomic_file import replacing

SUFFIX = ".parquet"
SHARED = ""  # owner of a file with rows of several identities
LARGEST_DICTIONARY = 64 << 10
"""Bytes of a column's distinct values from which on it has no dictionary. Most numbers are distinct: a dictionary of
them takes longer than all else of a file, and makes it larger."""
NAME = re.compile(r"\d{6}-[0-9a-f]{8}-([0-9a-f]{16})" + re.escape(SUFFIX))
LEFTOVER_SECONDS = 3600.0  # from which on a file that was not finished is nobody's any more


class Partition(NamedTuple):
    model: str
    version: str
    date: str
    part: str


class CapturedFile(Struct, frozen=True):
    path: Path
    of: Partition
    bytes: int
    modified: float
    owner: str = SHARED


def folder_of(root: Path, of: Partition) -> Path:
    return root.joinpath(*(f"{key}={quote(value, safe='')}" for key, value in of._asdict().items()))


def write(root: Path, of: Partition, table: pa.Table, owner: str = SHARED) -> Path:
    """owner: the identity that has sent all of it. Raises OSError, and then there is no file."""
    folder = folder_of(root, of)
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each in reversed(folder.relative_to(root).parents[:-1]):
        (root / each).mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    name = f"{datetime.now(UTC):%H%M%S}-{secrets.token_hex(4)}"
    file = folder / (name + (f"-{owner}" if owner else "") + SUFFIX)
    with replacing(file) as out:
        pq.write_table(table, out, compression="zstd", dictionary_pagesize_limit=LARGEST_DICTIONARY)
    return file


def captured(root: Path, model: str | None = None) -> Iterator[CapturedFile]:
    """The oldest date first. A file that goes meanwhile is left out. Raises OSError where the folder cannot be read."""
    of_model = "*" if model is None else _escaped(quote(model, safe=""))
    for path in sorted(root.glob(f"model={of_model}/version=*/date=*/part=*/*{SUFFIX}")):
        of = Partition(*(unquote(part.partition("=")[2]) for part in path.parts[-5:-1]))
        try:
            found = path.stat()
        except FileNotFoundError:
            continue
        if not path.name.startswith("."):
            owner = NAME.fullmatch(path.name)
            yield CapturedFile(path, of, found.st_size, found.st_mtime, owner[1] if owner is not None else SHARED)


def remove_old(
    root: Path, model: str, days: float, beyond: Callable[[list[CapturedFile]], list[CapturedFile]]
) -> list[CapturedFile]:
    """Files of the model that are older, and of the others what is beyond their room. Raises OSError."""
    now = time.time()
    found = list(captured(root, model))
    removed = [file for file in found if now - file.modified > days * 86400]
    removed += beyond([file for file in found if now - file.modified <= days * 86400])
    for file in removed:
        file.path.unlink(missing_ok=True)
    for path in root.glob(f"model={_escaped(quote(model, safe=''))}/version=*/date=*/part=*/.*{SUFFIX}.*"):
        if now - path.stat().st_mtime > LEFTOVER_SECONDS:
            path.unlink(missing_ok=True)
    return removed


def _escaped(name: str) -> str:
    return "".join(f"[{each}]" if each in "*?[" else each for each in name)
