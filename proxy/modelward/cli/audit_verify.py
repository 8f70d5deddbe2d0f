"""`modelward audit verify`: whether a log is what its key has signed, or a proof fits a record."""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

from rich.progress import Progress, TaskID

from modelward.audit.note import LARGEST_NOTE, Checkpoint, Note, NotSigned, Verifier, stamp
from modelward.audit.proof import Inclusion
from modelward.audit.record import LARGEST_RECORD
from modelward.audit.verify import Finding, checked, verify
from modelward.bounded_file import read_regular
from modelward.cli import audit_log
from modelward.cli.audit_export import progress
from modelward.cli.audit_log import OpenLog
from modelward.cli.output import console, print_problems, time_of
from modelward.cli.text import plain
from modelward.problem import Problem, ProblemsFound

HOW = (
    "Keep the log as it is: copy it away before the server writes on. Compare it with an older copy from that place on"
)
UNHELD = "the log was not held against its earlier checkpoints"
HOW_UNHELD = (
    "Copy its file `checkpoints` too; or verify without it, with --no-history: a history that its key has signed twice "
    "is not found then"
)
OWN_KEY = "note: the key lies beside the log; who changes one can change both. Give a copy that lies elsewhere: --key"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--remembered",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="earlier checkpoint of the log, kept elsewhere: tells whether the log was cut off. May be repeated",
    )
    parser.add_argument(
        "--no-history",
        action="store_true",
        help="verify a log although its earlier checkpoints are missing or unreadable",
    )
    parser.add_argument("--proof", type=Path, metavar="FILE", help="check this proof of one record, and nothing else")
    parser.add_argument("--record", type=Path, metavar="FILE", help="the record that --proof is of, from `show --raw`")
    audit_log.add_arguments(parser)


def run(log: OpenLog, arguments: argparse.Namespace) -> int:
    """Exit code: 0 where it is whole, 1 where it is not, or its earlier checkpoints are missing."""
    if arguments.proof is not None or arguments.record is not None:
        return _check(log.key, arguments.proof, arguments.record)
    remembered = tuple(_remembered(file, log.key) for file in arguments.remembered)
    with progress("records", hidden=False) as bar:
        tell = partial(_tell, bar, bar.add_task("records", total=None))
        found = verify(log.reader, log.key, remembered, tell)
        if found.checkpoint is not None and not found.whole and _goes_on(log, found.checkpoint):
            found = verify(log.reader, log.key, remembered, tell)  # it was written, or retention removed, meanwhile
    unheld = bool(found.unheld) and not arguments.no_history
    size = found.checkpoint.size if found.checkpoint is not None else None
    signed_at = stamp(log.reader.note(), log.key) if found.checkpoint is not None else None
    if arguments.json:
        told = {
            "whole": found.whole,
            "records": found.records,
            "size": size,
            "signed_at": signed_at,
            "key": str(log.key),
            "removed": [{"records": each.records, "by": each.by} for each in found.removed],
            "history": found.unheld or None,
            "findings": [{"what": each.what, "record": each.record, "end": each.end} for each in found.findings],
        }
        print(json.dumps(told))
        return int(not found.whole or unheld)
    out = console()
    if not found.whole:
        print_problems(Problem(each.what, _where(log, each), how=HOW) for each in found.findings)
        return 1
    when = time_of(signed_at) if signed_at is not None else ""
    out.print(f"whole: {found.records} records, as {plain(log.key.name)} has signed them at {when}", soft_wrap=True)
    for each in found.removed:
        out.print(f"  {each.records} of them were removed by retention, as record {each.by} tells", soft_wrap=True)
    for checkpoint in remembered:
        out.print(f"  it begins with the {checkpoint.size} records that are remembered", soft_wrap=True)
    if unheld:
        print_problems([Problem(UNHELD, log.where, found.unheld, HOW_UNHELD)])
    elif found.unheld:
        console(error=True).print(f"warning: {UNHELD}: {plain(found.unheld)}", soft_wrap=True)
    if not log.given:
        console(error=True).print(OWN_KEY, soft_wrap=True)
    return int(unheld)


def _tell(bar: Progress, task: TaskID, done: int, size: int) -> None:
    bar.update(task, completed=done, total=size)


def _goes_on(log: OpenLog, checkpoint: Checkpoint) -> bool:
    return Checkpoint.parse(log.reader.note().text) != checkpoint


def _where(log: OpenLog, finding: Finding) -> str:
    if finding.record < 0:
        return log.where
    last = f" to {finding.end - 1}" if finding.end > finding.record + 1 else ""
    return f"{log.where}, record {finding.record}{last}"


def _remembered(file: Path, key: Verifier) -> Checkpoint:
    """Raises ProblemsFound."""
    try:
        return checked(Note.parse(read_regular(file, LARGEST_NOTE)), key)
    except OSError as error:
        raise ProblemsFound([Problem("a checkpoint cannot be read", str(file), error.strerror or "")]) from None
    except (NotSigned, ValueError) as error:
        how = "Give a copy of the file `checkpoint` of this log"
        raise ProblemsFound([Problem("this is no checkpoint of the log", str(file), str(error), how)]) from None


def _check(key: Verifier, proof: Path | None, record: Path | None) -> int:
    """Raises ProofFails, NotSigned, ProblemsFound."""
    if proof is None or record is None:
        how = "Give both: modelward audit prove N > FILE, modelward audit show N --raw > FILE"
        raise ProblemsFound([Problem("a proof is checked with its record", "--proof, --record", how=how)])
    try:
        text, leaf = read_regular(proof, LARGEST_NOTE).decode(), read_regular(record, LARGEST_RECORD)
    except (OSError, ValueError) as error:
        raise ProblemsFound(
            [Problem("the proof or its record cannot be read", f"{proof}, {record}", str(error))]
        ) from None
    found = Inclusion.parse(text)
    checkpoint = found.check(leaf, key)
    words = f"proven: record {found.number} of the log of {checkpoint.size} records that {plain(key.name)} has signed"
    console().print(words, soft_wrap=True)
    return 0
