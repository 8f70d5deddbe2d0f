"""Labels that arrive later: kept beside the captured rows, and joined to them by request or trace."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from modelward.atomic_file import replacing
from modelward.problem import Problem, ProblemsFound

FOLDER = "_labels"  # readers of a folder of Parquet files pass over names that begin so
LARGEST_FILE = 1 << 30
KEYS = ("request_id", "trace_id")
HOW = (
    "Give a CSV or Parquet file with the columns label and request_id or trace_id, and row where requests have several"
)
Key = tuple[str, str, int]  # which of KEYS, its value, the row


@dataclass(frozen=True)
class Joined:
    """labels: of each row, None without one. matched: rows that have one. ambiguous: rows that have none since several
    requests have their id. unused: labels that fit no row."""

    labels: list[Any]
    matched: int
    ambiguous: int
    unused: int


def read(file: Path) -> pa.Table:
    """Columns label, row and one or both of KEYS. Raises ProblemsFound."""
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
    return pa.table(columns | {"row": rows, "label": table["label"]})


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
    return [pq.read_table(file) for file in files]


def join(rows: pa.Table, labels: list[pa.Table]) -> Joined:
    """A label of a later file counts in place of an earlier one, and one by request before one by trace. An id that
    several requests have tells none of them apart: whoever sends another's id must not get its label."""
    known: dict[Key, Any] = {}
    for table in labels:
        for key in KEYS:
            if key in table.column_names:
                values = zip(table[key].to_pylist(), table["row"].to_pylist(), table["label"].to_pylist(), strict=True)
                known |= {(key, value, row): label for value, row, label in values if value and label is not None}
    if not known:
        return Joined([None] * rows.num_rows, 0, 0, 0)
    numbers = rows["row"].to_pylist()
    found: list[Any] = [None] * rows.num_rows
    used: set[Key] = set()
    unclear: set[int] = set()
    for key in KEYS:
        values = rows[key].to_pylist()
        times = _times(zip(values, numbers, strict=True))
        for i, (value, row) in enumerate(zip(values, numbers, strict=True)):
            label = known.get((key, value, row)) if value else None
            if label is None or found[i] is not None:
                continue
            used.add((key, value, row))
            if times[value, row] > 1:
                unclear.add(i)
            else:
                found[i] = label
    unclear = {i for i in unclear if found[i] is None}
    return Joined(found, sum(each is not None for each in found), len(unclear), len(known) - len(used))


def _times(pairs: Any) -> Mapping[tuple[Any, int], int]:
    counts: dict[tuple[Any, int], int] = {}
    for pair in pairs:
        counts[pair] = counts.get(pair, 0) + 1
    return counts


def _csv(file: Path) -> pa.Table:
    options = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(KEYS, pa.string()))
    return pyarrow.csv.read_csv(file, convert_options=options)
