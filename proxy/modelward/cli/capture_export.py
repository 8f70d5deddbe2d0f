"""`modelward capture label` and `export`: labels that arrive later, and a training set with what was left out of it."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec.structs import asdict

from modelward.atomic_file import replacing
from modelward.capture import labels, reading
from modelward.capture.export import Export, Settings
from modelward.capture.export import export as build
from modelward.capture.influence import Influence
from modelward.capture.reading import MOST_ROWS, Wanted
from modelward.cli.output import console, print_json, print_table
from modelward.cli.text import plain
from modelward.problem import Problem, ProblemsFound

REASONS = {
    "quarantine": "suspicious; --quarantine takes them",
    "other_inputs": "captured when the model had inputs of other types",
    "sampled": "beyond --max-rows, at random",
    "no_label": "without a label, where others have one",
    "not_answered": "not answered by the model",
    "near_duplicate": "more than --max-per-cluster that are alike",
    "labels_contradicted": "of identities with labels that the rows of others contradict",
    "trigger": "with a value that only their identity sends, and labels that the rows of others contradict",
    "rows_contradicted": "contradicted rows of identities that have more of these than others",
    "lone_value": "with a value that only their identity sends",
    "identity_share": "beyond --max-share-per-identity",
}
OF_IDENTITY = {
    "labels_contradicted": "all rows",
    "trigger": "rows with a value of its own",
    "rows_contradicted": "contradicted rows",
}


def label(root: Path, arguments: argparse.Namespace) -> int:
    """0. Raises ProblemsFound."""
    files = reading.find(root, arguments.model)
    table = _named(labels.read(arguments.labels, arguments.identity), reading.identities(files), arguments.labels)
    found = reading.read(files, Wanted(arguments.model, quarantine=True))
    joined = labels.join(found.rows, [table])
    labelled = labels.join(found.rows, [*labels.stored(root, arguments.model), table]).matched
    try:
        file = labels.store(root, arguments.model, table)
    except OSError as error:
        how = "Run this as the user that the server runs as"
        raise ProblemsFound([Problem("labels cannot be kept", str(root), error.strerror or "", how)]) from error
    told = {
        "labels": table.num_rows, "matched": joined.matched, "ambiguous": joined.ambiguous, "unused": joined.unused,
        "labelled": labelled, "file": str(file),
    }  # fmt: skip
    if arguments.json:
        print_json(told)
        return 0
    out = console()
    out.print(
        f"{table.num_rows:,} labels are kept, for {joined.matched:,} captured rows; "
        f"{labelled:,} of {found.rows.num_rows:,} have a label now"
    )
    if joined.ambiguous:
        out.print(f"{joined.ambiguous:,} rows have none since several requests have their id")
    if joined.unused:
        out.print(f"{joined.unused:,} labels fit no captured row so far")
    return 0


def export(root: Path, arguments: argparse.Namespace) -> int:
    """0. Raises ProblemsFound, and then nothing is written."""
    since, until = _moment(arguments.since, "--from"), _moment(arguments.until, "--to")
    wanted = Wanted(arguments.model, since, until, arguments.quarantine, arguments.max_rows or MOST_ROWS)
    with console(error=True).status("reading captured rows"):
        files = reading.find(root, arguments.model)
        read = reading.read(files, wanted, arguments.seed)
        whose = reading.identities(files)
        tables = [labels.named(table, whose) for table in labels.stored(root, arguments.model)]
        if arguments.labels is not None:
            tables.append((_named(labels.read(arguments.labels), whose, arguments.labels), 0))
        joined = labels.join(read.rows, [table for table, _ in tables], sum(unnamed for _, unnamed in tables))
    settings = Settings(
        arguments.max_share_per_identity,
        arguments.max_per_cluster,
        arguments.quarantine,
        not arguments.leave_out_lone_values,
        arguments.seed,
    )
    with console(error=True).status("comparing rows"):
        made = build(read.rows, joined, settings)
    if not made.table.num_rows:
        why = ", ".join(f"{count:,} {REASONS[reason]}" for reason, count in (read.skipped | made.left_out).items())
        raise ProblemsFound(
            [Problem("no row is left to export", f"model {arguments.model}", why, "Relax what is named")]
        )
    _write(arguments.out, made.table)
    report = _report(made, read.skipped, arguments)
    if arguments.json:
        print_json(report)
    else:
        _print(report)
    return 0


def _named(table: pa.Table, identities: Collection[str], file: Path) -> pa.Table:
    """Raises ProblemsFound where a label does not say whose request it is of, and it can be of several."""
    known, unnamed = labels.named(table, identities)
    if unnamed:
        what = f"{unnamed:,} labels do not say whose requests they are of"
        why = "Rows of several identities are captured, and a client may send the id of another's request"
        raise ProblemsFound([Problem(what, str(file), why, labels.HOW_IDENTITY)])
    return known


def _moment(text: str | None, flag: str) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        how = "Write 2026-01-31, or 2026-01-31T12:00:00Z"
        raise ProblemsFound([Problem(f"{text!r} is no time", flag, how=how)]) from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _write(file: Path, table: pa.Table) -> None:
    try:
        with replacing(file) as out:
            pq.write_table(table, out, compression="zstd")
    except OSError as error:
        why = error.strerror or str(error)
        raise ProblemsFound(
            [Problem("the training set cannot be written", str(file), why, "Give another --out")]
        ) from error


def _report(made: Export, skipped: Mapping[str, int], arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "model": arguments.model,
        "out": str(arguments.out),
        "rows": made.table.num_rows,
        "captured": made.captured + sum(skipped.values()),
        "left_out": dict(skipped) | made.left_out,
        "labels": {"matched": made.labelled, "ambiguous": made.ambiguous, "unused": made.unused_labels},
        "influence": {"before": _influence(made.before), "after": _influence(made.after)},
        "max_share_per_identity": made.share,
        "identities": [asdict(each) for each in made.identities],
        "false_rate": made.false_rate,
        "lone_values": [asdict(each) for each in made.lone],
        "notes": list(made.notes),
    }


def _influence(found: Influence) -> dict[str, Any]:
    names = ("identity", "rows", "share")
    return {
        "identities": found.identities,
        "effective": found.effective,
        "largest": [dict(zip(names, each, strict=True)) for each in found.largest],
    }


def _print(report: Mapping[str, Any]) -> None:
    out = console()
    out.print(
        f"{report['rows']:,} of {report['captured']:,} captured rows are in {plain(report['out'])}", soft_wrap=True
    )
    if report["left_out"]:
        print_table("left out", ("rows", "why"), [
            (f"{count:,}", REASONS[reason]) for reason, count in report["left_out"].items()
        ])  # fmt: skip
    before, after = report["influence"]["before"], report["influence"]["after"]
    shares = {each["identity"]: each["share"] for each in before["largest"]}
    title = f"{after['identities']:,} identities, which count as {after['effective']:.1f} with equal shares"
    title += f" ({before['effective']:.1f} before)"
    print_table(title, ("identity", "rows", "share", "before"), [
        (each["identity"], f"{each['rows']:,}", f"{each['share']:.1%}",
         f"{shares[each['identity']]:.1%}" if each["identity"] in shares else "")
        for each in after["largest"]
    ])  # fmt: skip
    if report["identities"]:
        seldom = f"at most 1 in {1 / report['false_rate']:,.0f} exports names an honest one"
        title = f"identities whose labels the rows of others contradict ({seldom})"
        judged = ("identity", "left out", "rows judged", "disagree", "usual for such rows", "excess, at least")
        print_table(title, judged, [
            (each["identity"], OF_IDENTITY[each["reason"]], f"{each['rows']:,}", f"{each['disagreement']:.1%}",
             f"{each['expected']:.1%}", f"{each['certain_excess']:.1%}")
            for each in report["identities"]
        ])  # fmt: skip
    if report["lone_values"]:
        columns = ("identity", "feature", "value", "rows", "of its own", "of others'", "")
        print_table("values that one identity alone sends", columns, [
            (each["identity"], each["feature"], f"{each['value']:.6g}", f"{each['rows']:,}",
             f"{each['share']:.1%}", f"{each['others']:.2%}", "left out" if each["left_out"] else "kept")
            for each in report["lone_values"]
        ])  # fmt: skip
    for note in report["notes"]:
        out.print(plain(note), soft_wrap=True)
