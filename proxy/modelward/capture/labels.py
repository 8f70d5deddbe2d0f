"""Labels that arrive later: kept beside the captured rows, and joined to them by identity, and request or trace.

Clients choose their ids. So an id tells apart the requests of one identity alone, and a label says whose request it is
of: else a client that sends the id of another's request would get its label.
"""

from __future__ import annotations

import re
import secrets
from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime
from itertools import repeat
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from msgspec import Struct

from modelward.atomic_file import replacing
from modelward.problem import Problem, ProblemsFound

FOLDER = "_labels"  # readers of a folder of Parquet files pass over names that begin so
LARGEST_FILE = 1 << 30
KEYS = ("request_id", "trace_id")
ANY = "any"  # in place of an identity: of whichever sends the id
IDENTITY = re.compile(f"[0-9a-f]{{16}}|{ANY}")
HOW = (
    "Give a CSV or Parquet file with the columns label and request_id or trace_id, and row where requests have several"
)
HOW_IDENTITY = (
    "Add a column identity with hashes, as modelward capture show tells them, or give modelward capture label "
    f"--identity HASH for all of the file; --identity {ANY} where you trust every client of the model with its ids"
)
Key = tuple[str, str, str, int]  # which of KEYS, the identity or ANY, its value, the row


class Joined(Struct, frozen=True):
    """labels: of each row, None without one. matched: rows that have one. ambiguous: rows that have none since several
    requests have their id. unused: labels that fit no row. unnamed: labels that do not say whose they are."""

    labels: list[Any]
    matched: int
    ambiguous: int
    unused: int
    unnamed: int = 0


def read(file: Path, identity: str | None = None) -> pa.Table:
    """Columns label, row, identity and one or both of KEYS. identity: of all rows that name none; None: that is not
    said. Raises ProblemsFound."""
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise ProblemsFound(
                [
                    Problem(
                        "the file of labels is too large", str(file), f"{LARGEST_FILE} bytes are the most", "Split it"
                    )
                ]
            )
        table = pq.read_table(file) if file.suffix == ".parquet" else _csv(file)
    except (OSError, pa.ArrowException) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ProblemsFound([Problem("the labels cannot be read", str(file), why, HOW)]) from error
    names = set(table.column_names)
    if "label" not in names or not names & set(KEYS):
        why = f"its columns are {', '.join(table.column_names[:20])}"
        raise ProblemsFound([Problem("the file holds no labels of requests", str(file), why, HOW)])
    columns = {name: table[name].cast(pa.string()) for name in KEYS if name in names}
    try:
        rows = table["row"].cast(pa.int64()) if "row" in names else pa.array([0] * table.num_rows, pa.int64())
    except pa.ArrowException as error:
        raise ProblemsFound([Problem("the column row holds no numbers", str(file), str(error), HOW)]) from error
    whose = table["identity"].cast(pa.string()).to_pylist() if "identity" in names else [None] * table.num_rows
    told = [each.strip() if each and each.strip() else identity for each in whose]
    if wrong := [each for each in told if each is not None and IDENTITY.fullmatch(each) is None]:
        why = f"{wrong[0][:64]!r} in the column identity is no hash of 16 digits"
        raise ProblemsFound([Problem("the labels are of no identity", str(file), why, HOW_IDENTITY)])
    return pa.table(columns | {"row": rows, "identity": pa.array(told, pa.string()), "label": table["label"]})


def named(table: pa.Table, identities: Collection[str]) -> tuple[pa.Table, int]:
    """The labels that say whose they are, and how many do not. identities: whose rows are captured. Where that is one
    alone, labels that name none are its own."""
    table = _with_identity(table)
    place = table.column_names.index("identity")
    if len(identities) == 1:
        return table.set_column(place, "identity", table["identity"].fill_null(next(iter(identities)))), 0
    unnamed = table["identity"].null_count
    return table.filter(table["identity"].is_valid()), unnamed


def store(root: Path, model: str, table: pa.Table) -> Path:
    """Raises OSError."""
    folder = root / FOLDER / f"model={quote(model, safe='')}"
    for each in (root, root / FOLDER, folder):
        each.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-{secrets.token_hex(4)}.parquet"
    with replacing(file) as out:
        pq.write_table(table, out, compression="zstd")
    return file


def stored(root: Path, model: str) -> list[pa.Table]:
    """The oldest first. Raises OSError, pa.ArrowException."""
    folder = root / FOLDER / f"model={quote(model, safe='')}"
    files = sorted(path for path in folder.glob("*.parquet") if not path.name.startswith("."))
    return [_with_identity(pq.read_table(file)) for file in files]


def join(rows: pa.Table, labels: list[pa.Table], unnamed: int = 0) -> Joined:
    """labels: that `named` gives, and how many it left out. A label of a later file counts in place of an earlier one,
    one by request before one by trace, and one of the row's identity before one of ANY. An id that several requests of
    the identity have tells none of them apart; of ANY, that several requests have."""
    known: dict[Key, Any] = {}
    for table in labels:
        columns = [table[name].to_pylist() for name in ("identity", "row", "label")]
        for key in KEYS:
            if key in table.column_names:
                given = zip(table[key].to_pylist(), *columns, strict=True)
                for value, of, row, label in given:
                    if value and of and label is not None:
                        known[key, of, value, row] = label
    if not known:
        return Joined([None] * rows.num_rows, 0, 0, 0, unnamed)
    identities, numbers = rows["identity"].to_pylist(), rows["row"].to_pylist()
    found: list[Any] = [None] * rows.num_rows
    used: set[Key] = set()
    unclear: set[int] = set()
    for key in KEYS:
        values = rows[key].to_pylist()
        times = Counter(zip(identities, values, numbers, strict=True))
        times.update(zip(repeat(ANY), values, numbers, strict=False))
        for i, (identity, value, row) in enumerate(zip(identities, values, numbers, strict=True)):
            for of in (identity, ANY):
                label = known.get((key, of, value, row)) if value else None
                if label is None or found[i] is not None:
                    continue
                used.add((key, of, value, row))
                if times[of, value, row] > 1:
                    unclear.add(i)
                else:
                    found[i] = label
    unclear = {i for i in unclear if found[i] is None}
    matched = sum(each is not None for each in found)
    return Joined(found, matched, len(unclear), len(known) - len(used), unnamed)


def _with_identity(table: pa.Table) -> pa.Table:
    if "identity" in table.column_names:
        return table
    return table.append_column("identity", pa.nulls(table.num_rows, pa.string()))


def _csv(file: Path) -> pa.Table:
    options = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys((*KEYS, "identity"), pa.string()))
    return pyarrow.csv.read_csv(file, convert_options=options)
