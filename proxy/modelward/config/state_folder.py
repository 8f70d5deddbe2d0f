"""Where a server keeps what outlives it."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from modelward.config.layer import Layer
from modelward.problem import Problem

VARIABLE = "STATE_DIRECTORY"
HOW = f"Give it by --set state=DIR, or by the environment variable {VARIABLE}"


def state_folder(configured: Path | None) -> Path:
    """As configured, or what the service manager gives, or a hidden folder of the working one."""
    return configured or Path(os.environ.get(VARIABLE) or ".modelward")


def problems(file: Layer, outer: Layer, environ: Mapping[str, str]) -> Iterator[Problem]:
    """Of a configuration whose changes need approvals. What was approved lies in `state`. file: the main file alone."""
    if "state" in file.values:
        what = "state stands in a file whose changes need approvals"
        why = "who writes the file could name another folder, where no configuration was approved"
        yield Problem(what, file.origin(("state",)) or "", why, f"Take it out. {HOW}")
    elif "state" not in outer.values and not environ.get(VARIABLE):
        what = "changes of the configuration need approvals, and no state is given"
        why = "what was approved is kept there, and only what is outside the files may say where"
        yield Problem(what, "approvals.reload", why, HOW)
