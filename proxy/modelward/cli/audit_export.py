"""`modelward audit export`: records for other programs."""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from modelward.atomic_file import replacing
from modelward.audit.query import select
from modelward.cli import audit_log
from modelward.cli.audit_log import OpenLog, filter_of
from modelward.cli.audit_show import told_gone
from modelward.cli.output import console
from modelward.cli.text import plain

COLUMNS = (
    "n", "at", "kind", "verb", "result", "actor", "proof", "issuer", "origin", "of", "model", "version", "object",
    "digest", "reason", "before", "after", "proposal", "approvals", "break_glass", "figures", "problems", "server",
)  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""With which a cell begins that a spreadsheet would compute."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=("jsonl", "csv"), default="jsonl", help="form (default: %(default)s)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="file to write (default: stdout)")
    audit_log.add_filters(parser)
    audit_log.add_arguments(parser)


def export(log: OpenLog, arguments: argparse.Namespace) -> int:
    _, checkpoint = log.checkpoint()
    count = 0
    with ExitStack() as stack:
        file: Path | None = arguments.output
        out: BinaryIO = stack.enter_context(replacing(file)) if file is not None else sys.stdout.buffer
        bar = stack.enter_context(progress("records", hidden=file is None))
        task = bar.add_task("records", total=checkpoint.size)
        if arguments.format == "csv":
            out.write(_line(COLUMNS))
        found = select(
            log.reader,
            0,
            checkpoint.size,
            filter_of(arguments),
            gone=told_gone,
            progress=lambda done: bar.update(task, completed=done),
        )
        for each in found:
            out.write(_line(_cells(each.fields)) if arguments.format == "csv" else each.leaf + b"\n")
            count += 1
        out.flush()
    if file is not None:
        console(error=True).print(f"{count} of {checkpoint.size} records are in {plain(file)}", soft_wrap=True)
    return 0


def progress(what: str, *, hidden: bool) -> Progress:
    """A bar on stderr, if that is a terminal."""
    out = console(error=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=out, transient=True, disable=hidden or not out.is_terminal)


def _cells(fields: Mapping[str, Any]) -> list[str]:
    actor = fields.get("actor")
    named: dict[str, Any] = dict(actor) if isinstance(actor, Mapping) else {"name": "modelward"}
    row = {**fields, "actor": named.get("name"), **{name: named.get(name) for name in ("proof", "issuer", "origin")}}
    return [_cell(row.get(column)) for column in COLUMNS]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, int | float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if text.startswith(FORMULA) else text


def _line(cells: tuple[str, ...] | list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)  # RFC 4180
    return text.getvalue().encode()
