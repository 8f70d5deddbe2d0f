"""What the actions of `modelward audit` share: where the log is, which records are wanted, what can be wrong."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec import Struct

from modelward.audit.files import CHECKPOINT, LogReader
from modelward.audit.log import Gone, Reader
from modelward.audit.merkle import ProofFails
from modelward.audit.note import Checkpoint, Note, NotSigned, Verifier, stamp
from modelward.audit.opening import LOG, open_reader
from modelward.audit.query import Filter
from modelward.bounded_file import read_regular
from modelward.cli.output import print_notes
from modelward.config.audit import Audit, audit_folder
from modelward.config.layer import merge
from modelward.config.sources import from_environment, from_file
from modelward.problem import Problem, ProblemsFound

LARGEST_KEY = 4096
SPANS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
HOW = "Give the server's folder `state` with --state, its configuration with --config, or a copy of its log with --log"
HOW_ON = "Write audit: {} into the configuration, and start the server again"
HOW_TIME = "Write a time as 2026-11-29 or 2026-11-29T09:00:00Z, or how long ago: 90s, 30m, 12h, 7d"
KINDS = ("human", "automatic", "summary")
RESULTS = ("asked", "done", "refused", "failed", "unknown")


class OpenLog(Struct, frozen=True):
    """key: with which it is checked. given: whether that came from elsewhere than the log's own folder."""

    reader: Reader
    key: Verifier
    where: str
    given: bool

    def checkpoint(self) -> tuple[Note, Checkpoint]:
        """The newest, whose signature was checked. Raises NotSigned, OSError."""
        note = self.reader.note()
        stamp(note, self.key)
        return note, Checkpoint.parse(note.text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--state", type=Path, metavar="FOLDER", help="folder `state` of the server")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="configuration file of the server, to find its log or PostgreSQL"
    )
    parser.add_argument("--log", type=Path, metavar="FOLDER", help="folder of the log itself, or of a copy of it")
    parser.add_argument(
        "--key", metavar="KEY|FILE", help="public key of the log (default: the one that the server keeps beside it)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of text, a document in each line")


def add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--since", type=_time, metavar="TIME", help="from then on: 2026-11-29T09:00:00Z, or 12h for so long ago"
    )
    parser.add_argument("--until", type=_time, metavar="TIME", help="before then")
    for name, what in (
        ("actor", "who did it"),
        ("verb", "what was done: promote, 'proposal.*'"),
        ("model", "model"),
        ("version", "version of it"),
        ("digest", "digest of the version"),
        ("object", "what it was done to, where that is no model"),
        ("server", "server that wrote the record"),
    ):
        parser.add_argument(f"--{name}", default="", metavar="TEXT", help=what)
    parser.add_argument("--kind", default="", choices=KINDS, help="who decides: a person, the server; or a summary")
    parser.add_argument("--result", default="", choices=RESULTS, help="what came of it")
    parser.add_argument("--proposal", type=int, metavar="N", help="what belongs to a proposal")
    parser.add_argument("--request", type=int, metavar="N", help="record N, and what came of it")
    parser.add_argument("--break-glass", action="store_true", help="what was done without the approvals that it needs")


def filter_of(arguments: argparse.Namespace) -> Filter:
    names = (each for each in Filter.__struct_fields__ if hasattr(arguments, each))
    return Filter(**{name: getattr(arguments, name) for name in names})


def reading(act: Callable[[OpenLog, argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    """What `act` returns. Raises ProblemsFound with what is wrong with the log."""
    log = _open(arguments)
    try:
        return act(log, arguments)
    except FileNotFoundError as error:
        if error.filename is not None and Path(error.filename).name == CHECKPOINT:
            raise ProblemsFound([Problem("there is no audit log", log.where, how=HOW)]) from None
        raise
    except NotSigned as error:
        how = "Run `modelward audit verify`; give the right key with --key if it is another log's"
        raise ProblemsFound(
            [Problem("the checkpoint of the log cannot be believed", log.where, str(error), how)]
        ) from None
    except (Gone, ProofFails, ValueError, RecursionError) as error:
        how = "Run `modelward audit verify`: it names the first record that was changed"
        raise ProblemsFound(
            [Problem("the log is not whole, or does not hold that", log.where, str(error), how)]
        ) from None
    except OSError as error:
        if isinstance(error, BrokenPipeError) or (error.filename is None and error.errno is not None):
            raise
        how = "Run this as a user that may read it, and look whether the store answers"
        why = error.strerror or str(error)
        raise ProblemsFound([Problem("the log cannot be read", log.where, why, how)]) from None
    finally:
        log.reader.close()


def _open(arguments: argparse.Namespace) -> OpenLog:
    """Raises ProblemsFound."""
    given = _key(arguments.key) if arguments.key is not None else None
    if arguments.log is not None:
        folder: Path = arguments.log
        if given is None:
            from modelward.audit.key import public_key  # noqa: PLC0415

            given = public_key(folder.parent)
            return OpenLog(LogReader(folder), given, str(folder), given=False)
        return OpenLog(LogReader(folder), given, str(folder), given=True)
    settings, state = _configured(arguments)
    if arguments.state is not None:
        settings, state = settings.model_copy(update={"folder": None}), arguments.state
        _is_in_files(settings, state)
    reader, key = open_reader(settings, state, given)
    where = (
        str(reader.folder) if isinstance(reader, LogReader) else settings.postgres.where if settings.postgres else ""
    )
    return OpenLog(reader, key, where, given=given is not None)


def _is_in_files(settings: Audit, state: Path) -> None:
    """Raises ProblemsFound where the server keeps its log in PostgreSQL, and nothing says which."""
    folder = audit_folder(settings, state)
    if settings.postgres is None and not (folder / LOG).exists() and any(folder.glob("last.*")):
        how = "Give the configuration of the server with --config"
        raise ProblemsFound([Problem("the server keeps its log in PostgreSQL, not here", str(folder), how=how)])


def _configured(arguments: argparse.Namespace) -> tuple[Audit, Path | None]:
    """Of the file and the environment, whatever is wrong with the rest of them. Raises ProblemsFound."""
    layers = [from_file(arguments.config)] if arguments.config is not None else []
    values: dict[str, Any] = dict(merge([*layers, from_environment(os.environ)]).values)
    state = values.get("state")
    if arguments.config is not None and not {"audit", "operators"} & values.keys():
        print_notes([Problem("the audit trail is off", str(arguments.config), "what is there is from before", HOW_ON)])
    try:
        settings = Audit.model_validate(values.get("audit") or {})
    except ValueError as error:
        raise ProblemsFound([Problem("section audit cannot be used", str(arguments.config), str(error))]) from None
    return settings, Path(state) if isinstance(state, str) else None


def _key(text: str) -> Verifier:
    """Of the text itself, or of the file that it names. Raises ProblemsFound."""
    where = "--key"
    try:
        if "+" not in text or Path(text).exists():
            where = text
            text = read_regular(Path(text), LARGEST_KEY).decode()
        return Verifier.parse(text)
    except OSError as error:
        how = "Give the file key.pub of the server, or what it holds"
        raise ProblemsFound([Problem("the public key cannot be read", where, error.strerror or "", how)]) from None
    except ValueError as error:
        raise ProblemsFound([Problem("this is no public key of a log", where, str(error))]) from None


def _time(text: str) -> datetime:
    if (span := re.fullmatch(r"(\d{1,9})([smhdw])", text, re.ASCII)) is not None:
        return datetime.now(UTC) - timedelta(seconds=int(span[1]) * SPANS[span[2]])
    try:
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is no time. {HOW_TIME}") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
