"""What of the server's own doings is recorded, and where."""

from __future__ import annotations

import socket
from pathlib import Path

from modelward.config.fields import Field
from modelward.config.postgres import Postgres
from modelward.config.retention import Retention
from modelward.config.section import Section
from modelward.config.state_folder import state_folder
from modelward.config.units import MINUTE, SECOND, Duration
from modelward.config.witness import Witness

FOLDER = "audit"
_NAME = r"^[A-Za-z0-9._/-]{1,100}$"


class Audit(Section):
    """The audit trail: what operators ask for and what the server decides, in a log that cannot be rewritten
    unnoticed. While it cannot be written, what operators ask for is refused."""

    folder: Path | None = Field(default=None, strict=False)
    """Folder of the log, of its key and of its public key. Absent: `audit` in the folder `state`."""
    checkpoint: Duration = Field(default=MINUTE, ge=SECOND, le=MINUTE)
    """Longest time between two checkpoints. There is one at every record too."""
    name: str | None = Field(default=None, pattern=_NAME)
    """Name of this server in its records. The log is called after it too, when it begins. Absent: the host's name.
    Servers that share a log need a name each."""
    postgres: Postgres | None = None
    """PostgreSQL that keeps the log, in place of a folder. The key stays in `folder`: servers that have the same key
    share one log, others each have their own."""
    witnesses: tuple[Witness, ...] = Field(default=(), strict=False, max_length=8)
    """Who is told of each checkpoint, so that who owns the log's disk cannot rewrite it unnoticed. Nothing waits for
    them."""
    retention: Retention | None = None
    """After how long the contents of records are removed. Absent: they are kept."""

    @property
    def server(self) -> str:
        return self.name or socket.gethostname() or "modelward"


def audit_folder(audit: Audit, state: Path | None) -> Path:
    """state: as configured."""
    return audit.folder or state_folder(state) / FOLDER
