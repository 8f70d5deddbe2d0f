"""The audit trail that a configuration asks for."""

from __future__ import annotations

import re

from modelward.audit import key
from modelward.audit.files import CHECKPOINT, LogWriter
from modelward.audit.log import Log, Mishap
from modelward.audit.trail import Trail
from modelward.config.audit import Audit, audit_folder
from modelward.config.schema import Config
from modelward.config.units import SECOND

LOG = "log"
"""Below the folder of the key, so that it can be given away as a whole."""


def open_trail(settings: Audit, config: Config) -> Trail:
    """Not started. Raises ProblemsFound where there is no key and none can be made."""
    folder = audit_folder(settings, config.state)
    log = folder / LOG
    name = f"modelward/{re.sub('[^A-Za-z0-9._/-]', '-', settings.server)}"
    signer = key.load_or_make(folder, name, begun=(log / CHECKPOINT).exists())

    def open_log(mishap: Mishap) -> Log:
        return LogWriter.open(log, signer, mishap)

    return Trail(
        open_log,
        str(log),
        str(signer.verifier),
        name=settings.server,
        interval=settings.checkpoint / SECOND,
    )
