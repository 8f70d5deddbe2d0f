"""`modelward audit tail`, `show` and `query`: records for people, a line each, or one with everything."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping
from json import dumps
from typing import Any

from rich.text import Text

from modelward.audit.note import Checkpoint
from modelward.audit.proof import prove_inclusion
from modelward.audit.query import Filter, Found, parsed, select
from modelward.cli import audit_log
from modelward.cli.audit_log import OpenLog, filter_of
from modelward.cli.output import console
from modelward.cli.text import plain
from modelward.problem import Problem, ProblemsFound

LAST = 20
FOLLOW_SECONDS = 0.5
LONGEST_CELL = 60
STYLES = {"refused": "yellow", "failed": "bold red", "unknown": "bold red", "asked": "dim"}


def add_tail_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", "--lines", type=_count, default=LAST, metavar="N", help="records (default: %(default)s)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with records as they come")
    audit_log.add_filters(parser)
    audit_log.add_arguments(parser)


def add_query_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=_count, metavar="N", help="records at most (default: all)")
    audit_log.add_filters(parser)
    audit_log.add_arguments(parser)


def add_show_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("number", type=int, metavar="N", help="number of the record")
    parser.add_argument("--raw", action="store_true", help="print the record's bytes as they are in the log, alone")
    audit_log.add_arguments(parser)


def tail(log: OpenLog, arguments: argparse.Namespace) -> int:
    wanted = filter_of(arguments)
    _, checkpoint = log.checkpoint()
    found = select(log.reader, 0, checkpoint.size, wanted, backwards=True, gone=told_gone)
    for each in [each for each, _ in zip(found, range(arguments.lines), strict=False)][::-1]:
        _print(each, json=arguments.json)
    size = checkpoint.size
    while arguments.follow:
        sys.stdout.flush()
        time.sleep(FOLLOW_SECONDS)
        _, checkpoint = log.checkpoint()
        if checkpoint.size < size:
            what = f"the log has {checkpoint.size} records and had {size}"
            raise ProblemsFound([Problem(what, log.where, "it was cut off", "Run `modelward audit verify`")])
        for each in select(log.reader, size, checkpoint.size, wanted):
            _print(each, json=arguments.json)
        size = checkpoint.size
    return 0


def query(log: OpenLog, arguments: argparse.Namespace) -> int:
    _, checkpoint = log.checkpoint()
    count = missing = 0

    def gone(first: int, end: int) -> None:
        nonlocal missing
        missing += end - first
        told_gone(first, end)

    found = select(log.reader, 0, checkpoint.size, filter_of(arguments), gone=gone)
    for each in found:
        _print(each, json=arguments.json)
        count += 1
        if count == arguments.limit:
            break
    if not count and not arguments.json:
        beyond = f"; {missing} are not there and were not looked at" if missing else ""
        console(error=True).print(f"none of {checkpoint.size - missing} records matches{beyond}", soft_wrap=True)
    return 0


def show(log: OpenLog, arguments: argparse.Namespace) -> int:
    note, checkpoint = log.checkpoint()
    record = one(log, checkpoint, arguments.number)
    prove_inclusion(log.reader, note, record.number, record.leaf)
    if arguments.raw:
        sys.stdout.flush()
        sys.stdout.buffer.write(record.leaf)
        sys.stdout.buffer.flush()
        return 0
    related = [each for each in _related(log, checkpoint, record) if each.number != record.number]
    if arguments.json:
        shown = {"record": record.fields, "related": [each.fields for each in related], "in_log_of": checkpoint.size}
        print(json.dumps(shown, default=str))
        return 0
    out = console()
    for name, value in _flat(record.fields):
        out.print(f"{name:<16} {plain(value)}", soft_wrap=True)
    out.print(f"in the log of {checkpoint.size} records that {plain(log.key.name)} has signed", soft_wrap=True)
    for each in related:
        _print(each, json=False)
    return 0


def one(log: OpenLog, checkpoint: Checkpoint, number: int) -> Found:
    """Raises ProblemsFound, Gone, OSError."""
    if not 0 <= number < checkpoint.size:
        what = f"there is no record {number}"
        held = f"it holds 0 to {checkpoint.size - 1}" if checkpoint.size else "it holds none"
        raise ProblemsFound([Problem(what, log.where, held)])
    (leaf,) = log.reader.records(number, number + 1)
    return Found(number, leaf, parsed(number, leaf))


def told_gone(first: int, end: int) -> None:
    text = (
        f"records {first} to {end - 1} are not there any more; `modelward audit verify` tells whether that is retention"
    )
    console(error=True).print(f"note: {text}", soft_wrap=True)


def _related(log: OpenLog, checkpoint: Checkpoint, record: Found) -> Iterator[Found]:
    asked = record.fields.get("of", record.number if record.fields.get("result") == "asked" else None)
    if isinstance(asked, int) and 0 <= asked < checkpoint.size:
        wanted = Filter(request=asked)
        for each in select(log.reader, asked, checkpoint.size, wanted):
            yield each
            if each.fields.get("of") == asked:
                return


def _print(record: Found, *, json: bool) -> None:
    if json:
        print(dumps(record.fields))  # in ASCII: names may come from strangers
        return
    fields = record.fields
    line = Text(f"{record.number:>7}  {plain(fields.get('at', ''))[:19]}Z  ", no_wrap=True)
    line.append(f"{plain(fields.get('verb', '')):<22} ")
    result = plain(fields.get("result", ""))
    line.append(f"{result:<8} ", style=STYLES.get(result, ""))
    line.append("  ".join(filter(None, _told(fields))))
    console().print(line, soft_wrap=True)


def _told(fields: Mapping[str, Any]) -> Iterator[str]:
    actor = fields.get("actor")
    if isinstance(actor, Mapping):
        proof = actor.get("proof", "none")
        yield f"{plain(actor.get('name', ''))}{f' ({plain(proof)})' if proof != 'none' else ''}"
    about = " ".join(filter(None, (str(fields.get("model", "")), str(fields.get("version", "")))))
    yield plain(about)
    if not about or str(fields.get("verb", "")).startswith("identity."):
        yield plain(fields.get("object", ""))
        yield _step(fields.get("before"), fields.get("after"))
    if fields.get("break_glass"):
        yield "BREAK GLASS"
    if (proposal := fields.get("proposal")) is not None:
        yield f"proposal {plain(proposal)}"
    if (of := fields.get("of")) is not None:
        yield f"of {plain(of)}"
    if fields.get("reason"):
        yield _short(fields["reason"])
    problems = fields.get("problems")
    if isinstance(problems, list) and problems and isinstance(problems[0], Mapping):
        yield _short(problems[0].get("what", ""))
    if fields.get("kind") == "summary":
        yield _short(json.dumps(fields.get("figures"), ensure_ascii=False))


def _step(before: object, after: object) -> str:
    """Of an identity, from which it came to which, and what it gets where that is another."""
    if not isinstance(after, Mapping) or "step" not in after:
        return ""
    step, gets = plain(after["step"]), plain(after.get("gets", after["step"]))
    came = f"{plain(before['step'])} -> " if isinstance(before, Mapping) and "step" in before else ""
    return f"{came}{step}{f' (gets {gets})' if gets != step else ''}"


def _short(text: object) -> str:
    words = plain(text).replace("\n", " ")
    return f"{words[:LONGEST_CELL]}..." if len(words) > LONGEST_CELL else words


def _flat(fields: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for name, value in fields.items():
        path = f"{above}.{name}" if above else name
        if isinstance(value, Mapping) and value and all(isinstance(key, str) for key in value):
            yield from _flat(value, path)
        elif isinstance(value, str):
            yield path, value
        else:
            yield path, json.dumps(value, ensure_ascii=False)


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return count
