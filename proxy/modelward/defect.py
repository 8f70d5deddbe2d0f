"""What the files of one model raise, and nobody has foreseen, is a problem of that model alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec.structs import replace

from modelward.no_process import refused_thread
from modelward.problem import Problem, ProblemsFound

log = logging.getLogger("modelward")

HOW = "Take its files out. It is a defect of Modelward: the log has the details, please report it"


@contextmanager
def as_problem(where: str) -> Iterator[None]:
    """Raises ProblemsFound in place of any other exception. where: the model, or its version, in words."""
    try:
        yield
    except ProblemsFound:
        raise
    except Exception as error:
        if (refused := refused_thread(error)) is not None:
            raise ProblemsFound([replace(refused, where=where)]) from None
        log.exception("%s cannot be checked", where)
        why = f"{type(error).__name__} was raised"
        raise ProblemsFound([Problem("its files cannot be checked", where, why, HOW)]) from error
