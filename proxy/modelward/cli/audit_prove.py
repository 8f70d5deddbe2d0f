"""`modelward audit prove` and `key`: what others need to check the log by themselves."""

from __future__ import annotations

import argparse
import json
import re

from modelward.audit.note import Checkpoint
from modelward.audit.proof import note_of, prove_consistency, prove_inclusion, texts
from modelward.cli import audit_log
from modelward.cli.audit_log import OpenLog
from modelward.cli.audit_show import one
from modelward.problem import WrongUsage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", metavar="N|A..B", help="number of a record; or two sizes of the log: 100..200, or 100.."
    )
    audit_log.add_arguments(parser)


def prove(log: OpenLog, arguments: argparse.Namespace) -> int:
    """Raises WrongUsage, ProofFails, Gone, NotSigned, OSError, ProblemsFound."""
    found = re.fullmatch(r"(\d{1,18})(?:(\.\.)(\d{1,18})?)?", arguments.what, re.ASCII)
    if found is None:
        raise WrongUsage(f"{arguments.what!r} is neither a record nor two sizes. Write 7, 100..200 or 100..")
    first, is_range, last = int(found[1]), found[2] is not None, found[3]
    note, checkpoint = log.checkpoint()
    if not is_range:
        record = one(log, checkpoint, first)
        inclusion = prove_inclusion(log.reader, note, first, record.leaf)
        told = {"record": first, "size": checkpoint.size, "hashes": texts(inclusion.hashes), "checkpoint": str(note)}
        print(json.dumps(told) if arguments.json else str(inclusion), end="\n" if arguments.json else "")
        return 0
    if last is not None:
        note = note_of(log.reader, int(last))
    note.verify(log.key)
    size = Checkpoint.parse(note.text).size
    consistency = prove_consistency(log.reader, note, first)
    told = {"before": first, "size": size, "hashes": texts(consistency.hashes), "checkpoint": str(note)}
    print(json.dumps(told) if arguments.json else str(consistency), end="\n" if arguments.json else "")
    return 0


def key(log: OpenLog, arguments: argparse.Namespace) -> int:
    print(json.dumps({"name": log.key.name, "key": str(log.key)}) if arguments.json else str(log.key))
    return 0
