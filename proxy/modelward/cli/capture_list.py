"""`modelward capture list` and `show`: what was captured of a model, counted, or row by row."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from modelward.capture import labels, reading
from modelward.capture.columns import HASH, INPUT, OUTPUT, QUARANTINE
from modelward.cli.output import console, print_json, print_table
from modelward.cli.text import plain
from modelward.plural import counted
from modelward.problem import Problem, ProblemsFound

LONGEST = 48  # characters of a cell
LONG_AGO = datetime.min.replace(tzinfo=UTC)
HOW = "modelward capture list shows what there is"
COLUMNS = ("time", "identity", "request", "p-value", "answered by", "quarantine")


def listed(root: Path, arguments: argparse.Namespace) -> int:
    """0. Raises ProblemsFound."""
    totals: dict[tuple[str, str, str], list[int]] = {}
    for file in reading.find(root, arguments.model):
        total = totals.setdefault((file.of.version, file.of.date, file.of.part), [0, 0, 0])
        total[0] += 1
        total[1] += _rows(file.path)
        total[2] += file.bytes
    tables = labels.stored(root, arguments.model)
    kept = sum(table.num_rows for table in tables)
    rows = [(*key, *total) for key, total in sorted(totals.items())]
    if arguments.json:
        names = ("version", "date", "part", "files", "rows", "bytes")
        print_json(
            {"model": arguments.model, "labels": kept, "captured": [dict(zip(names, row, strict=True)) for row in rows]}
        )
        return 0
    title = f"model {plain(arguments.model)}: captured rows in {plain(str(root))}"
    print_table(title, ("version", "day", "part", "files", "rows", "bytes"), [
        (*map(plain, row[:3]), f"{row[3]:,}", f"{row[4]:,}", f"{row[5]:,}") for row in rows
    ])  # fmt: skip
    several = "; the last one that was added for a row counts" if len(tables) > 1 else ""
    console().print(f"{kept:,} labels in {counted(len(tables), 'file')}{several}")
    return 0


def show(root: Path, arguments: argparse.Namespace) -> int:
    """0. Raises ProblemsFound."""
    found = reading.find(root, arguments.model)
    chosen = [file for file in found if not arguments.quarantine or file.of.part == QUARANTINE]
    rows: list[dict[str, Any]] = []
    # files of the two parts overlap in time
    for newest, path in sorted(((_newest(file.path), file.path) for file in chosen), reverse=True):
        if len(rows) == arguments.limit and newest <= rows[-1]["time"]:
            break
        table = reading.table_of(path).replace_schema_metadata(None)
        if arguments.identity is not None:
            table = table.filter(pc.equal(table["identity"], arguments.identity))
        order = pc.sort_indices(table, [("time", "descending")])[: arguments.limit]
        rows = sorted([*rows, *table.take(order).to_pylist()], key=lambda row: row["time"], reverse=True)
        rows = rows[: arguments.limit]
    if not rows:
        raise ProblemsFound([Problem(f"there are no such rows of model {arguments.model}", str(root), how=HOW)])
    if arguments.json:
        print_json({"model": arguments.model, "rows": [{k: _plain_value(v) for k, v in row.items()} for row in rows]})
        return 0
    names = [name for name in rows[0] if name.startswith((INPUT, HASH, OUTPUT))]
    print_table(f"model {plain(arguments.model)}: captured rows, the newest first", (*COLUMNS, *map(plain, names)), [
        (
            f"{row['time']:%Y-%m-%d %H:%M:%S}", row["identity"], plain(row["request_id"] or ""),
            "" if row["p_value"] is None else f"{row['p_value']:.3g}", row["answered_by"], row["quarantine"],
            *(_cell(row.get(name)) for name in names),
        )
        for row in rows
    ])  # fmt: skip
    return 0


def _rows(path: Path) -> int:
    return int(_metadata(path).num_rows)


def _newest(path: Path) -> datetime:
    """When the last of its requests ended."""
    told = _metadata(path)
    groups = [told.row_group(i) for i in range(told.num_row_groups)]
    columns = [group.column(i) for group in groups for i in range(group.num_columns)]
    return max((each.statistics.max for each in columns if each.path_in_schema == "time"), default=LONG_AGO)


def _metadata(path: Path) -> Any:
    try:
        return pq.read_metadata(path)
    except (OSError, pa.ArrowException) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ProblemsFound([Problem("a captured file cannot be read", str(path), why, "Move it away")]) from error


def _cell(value: Any) -> str:
    """Escaped: what a client has sent may hold anything."""
    if isinstance(value, list):
        text = ", ".join(map(_cell, value[:8])) + (", ..." if len(value) > 8 else "")
    elif isinstance(value, bytes):
        text = value[:LONGEST].decode("utf-8", "replace")
    else:
        text = "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return plain(text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")


def _plain_value(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain_value(each) for each in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.isoformat() if isinstance(value, datetime) else value
