"""The audit trail that a configuration asks for, to write it and to read it."""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path

from modelward.audit import key
from modelward.audit.database import driver
from modelward.audit.files import CHECKPOINT, LogReader, LogWriter, remove_bundles
from modelward.audit.last import Last
from modelward.audit.log import Log, Mishap, Reader
from modelward.audit.note import Verifier
from modelward.audit.postgres import PostgresLog, PostgresReader, remove_records
from modelward.audit.recorder import Recorder
from modelward.audit.retaining import Retaining
from modelward.audit.trail import PATIENCE_SECONDS, Trail
from modelward.audit.unanswered import Tell, told_unknown
from modelward.audit.witnesses import Witnesses
from modelward.config.audit import Audit, audit_folder
from modelward.config.schema import Config
from modelward.config.units import SECOND
from modelward.problem import Problem, ProblemsFound

LOG = "log"
"""Below the folder of the key, so that it can be given away as a whole."""
LAST = "last"
"""Beside it: the last checkpoint of the log that the server has confirmed. Of one in PostgreSQL, `last.SCHEMA`."""
WITNESSED = "witnessed"
"""Beside it: the checkpoint that each witness has seen last, with its cosignature."""


def examine(settings: Audit, state: Path | None) -> tuple[list[Problem], list[Problem]]:
    """What would keep a server from starting, and what would keep it from recording; changes nothing."""
    folder = audit_folder(settings, state)
    begun = settings.postgres is None and (folder / LOG / CHECKPOINT).exists()
    try:
        key.load(folder)
    except FileNotFoundError:
        if begun:
            return [key.lost(folder)], []
    except ProblemsFound as found:
        return [*found.problems], []
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return [], []
    what, why = "the audit trail cannot be written", "what operators ask for is refused until it can"
    how = "Set audit.folder, or state, to a folder that the server may write"
    return [], [Problem(what, str(there), why, how)]


def open_trail(settings: Audit, config: Config, tell: Tell = told_unknown) -> Trail:
    """Not started. tell: as Trail. Raises ProblemsFound where there is no key and none can be made, or what speaks to
    the store is not installed."""
    folder = audit_folder(settings, config.state)
    log = folder / LOG
    name = f"modelward/{re.sub('[^A-Za-z0-9._/-]', '-', settings.server)}"
    signer = key.load_or_make(folder, name, begun=(log / CHECKPOINT).exists())

    database = settings.postgres
    if database is not None:
        driver()

    def open_log(mishap: Mishap) -> Log:
        if database is not None:
            return PostgresLog.open(database, signer, Last(folder / f"{LAST}.{database.schema_name}", mishap))
        return LogWriter.open(log, signer, mishap, Last(folder / LAST, mishap))

    return Trail(
        open_log,
        str(log) if database is None else f"{database.where}, {signer.name}",
        str(signer.verifier),
        name=settings.server,
        tell=tell,
        interval=settings.checkpoint / SECOND,
        patience=PATIENCE_SECONDS + (database.timeout / SECOND if database is not None else 0),
    )


def open_witnesses(settings: Audit, state: Path | None, trail: Recorder) -> Witnesses:
    """Of a log that `open_trail` has opened. Not started. Raises ProblemsFound."""

    def opened() -> Reader:
        return open_reader(settings, state)[0]

    folder = audit_folder(settings, state)
    return Witnesses(settings.witnesses, opened, key.public_key(folder), folder / WITNESSED, trail)


def open_retaining(settings: Audit, state: Path | None, trail: Recorder) -> Retaining | None:
    """Likewise. None where records are kept."""
    if settings.retention is None:
        return None
    reader, verifier = open_reader(settings, state)
    if settings.postgres is not None:
        remove = partial(remove_records, settings.postgres, verifier.name)
    else:
        remove = partial(remove_bundles, audit_folder(settings, state) / LOG)
    return Retaining(settings.retention, reader, verifier, remove, trail)


def open_reader(settings: Audit, state: Path | None, given: Verifier | None = None) -> tuple[Reader, Verifier]:
    """What the log holds, and the key that its checkpoints are checked with. given: that key; None: the one in the
    folder of the audit trail. Raises ProblemsFound."""
    folder = audit_folder(settings, state)
    verifier = given or key.public_key(folder)
    if settings.postgres is not None:
        driver()
        return PostgresReader(settings.postgres, verifier.name), verifier
    return LogReader(folder / LOG), verifier
