"""Captured rows of one model, read back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec import Struct

from modelward.capture.columns import QUARANTINE
from modelward.capture.files import CapturedFile, captured
from modelward.problem import Problem, ProblemsFound

MOST_ROWS = 2_000_000
HOW = (
    "Wait until rows are models.NAME.capture.file_age old (5m by default), or the server ends: then they are written. "
    "Or look at models.NAME.capture of the server's configuration"
)


class Wanted(Struct, frozen=True):
    """since, until: of the requests' time, with a zone. quarantine: suspicious rows too. most: rows that are read;
    beyond that a random part of each file."""

    model: str
    since: datetime | None = None
    until: datetime | None = None
    quarantine: bool = False
    most: int = MOST_ROWS


class Read(Struct, frozen=True):
    """skipped: rows by why they are not in `rows`."""

    rows: pa.Table
    skipped: dict[str, int]


def find(root: Path, model: str) -> list[CapturedFile]:
    """Raises ProblemsFound, also where there is none."""
    try:
        found = list(captured(root, model))
    except OSError as error:
        how = "Run this as the user that the server runs as"
        raise ProblemsFound(
            [Problem("captured requests cannot be read", str(root), error.strerror or "", how)]
        ) from error
    if not found:
        raise ProblemsFound([Problem(f"there are no captured requests of model {model}", str(root), how=HOW)])
    return found


def read(files: Sequence[CapturedFile], wanted: Wanted, seed: int = 0) -> Read:
    """Raises ProblemsFound where a file cannot be read, or none has a row of that time."""
    skipped: dict[str, int] = {}
    chosen = [file for file in files if _may_hold(file, wanted)]
    counts = {file.path: _rows_of(file) for file in chosen}
    if not wanted.quarantine:
        suspicious = [file for file in chosen if file.of.part == QUARANTINE]
        if count := sum(counts[file.path] for file in suspicious):
            skipped["quarantine"] = count
        chosen = [file for file in chosen if file.of.part != QUARANTINE]
    total = sum(counts[file.path] for file in chosen)
    share = min(1.0, wanted.most / max(total, 1))
    random = np.random.default_rng(seed)
    tables: list[pa.Table] = []
    newest = max(chosen, key=lambda file: file.modified, default=None)
    kinds = _kinds(newest) if newest is not None else {}
    for file in chosen:
        table = table_of(file.path)
        if any(kinds.get(field.name, field.type) != field.type for field in table.schema):
            skipped["other_inputs"] = skipped.get("other_inputs", 0) + table.num_rows
            continue
        table = _in_time(table.replace_schema_metadata(None), wanted)
        if share < 1:
            kept = table.filter(pa.array(random.random(table.num_rows) < share))
            skipped["sampled"] = skipped.get("sampled", 0) + table.num_rows - kept.num_rows
            table = kept
        tables.append(table)
    rows = pa.concat_tables(tables, promote_options="default") if tables else None
    if rows is None or not rows.num_rows:
        what = f"there are no captured requests of model {wanted.model} of that time"
        why = "all are in quarantine" if skipped.get("quarantine") else ""
        raise ProblemsFound(
            [Problem(what, str(files[0].path.parents[3]), why, "Give --from and --to, or --quarantine")]
        )
    return Read(rows.combine_chunks(), skipped)


def identities(files: Sequence[CapturedFile], most: int = 2) -> set[str]:
    """Whose rows there are, of all times and parts; of more than `most`, some. Raises ProblemsFound."""
    found: set[str] = set()
    for file in files:
        found |= {*table_of(file.path, ["identity"])["identity"].unique().to_pylist()}
        if len(found) >= most:
            break
    return found


def _may_hold(file: CapturedFile, wanted: Wanted) -> bool:
    """By the day, in UTC."""
    since = wanted.since.strftime("%Y-%m-%d") if wanted.since is not None else ""
    until = wanted.until.strftime("%Y-%m-%d") if wanted.until is not None else "9999"
    return since <= file.of.date <= until


def _in_time(table: pa.Table, wanted: Wanted) -> pa.Table:
    for moment, holds in ((wanted.since, pc.greater_equal), (wanted.until, pc.less)):
        if moment is not None:
            table = table.filter(holds(table["time"], pa.scalar(moment, pa.timestamp("us", "UTC"))))
    return table


def table_of(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Raises ProblemsFound."""
    try:
        return pq.read_table(path, columns=columns, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def _rows_of(file: CapturedFile) -> int:
    try:
        return int(pq.read_metadata(file.path).num_rows)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(file.path, error) from error


def _kinds(file: CapturedFile) -> dict[str, pa.DataType]:
    """Types by column; what a file has under another type is of another model in all but name."""
    return {field.name: field.type for field in table_of(file.path).schema}


def _unreadable(path: Path, error: Exception) -> ProblemsFound:
    why = getattr(error, "strerror", None) or str(error)
    return ProblemsFound([Problem("a captured file cannot be read", str(path), why, "Move it away")])
