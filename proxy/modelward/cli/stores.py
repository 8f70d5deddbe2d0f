"""What `modelward check` finds of the stores that a server shares with others."""

from __future__ import annotations

import asyncio

from modelward.config.schema import Config
from modelward.limits import shared
from modelward.problem import Problem, ProblemsFound

Found = tuple[tuple[Problem, ...], tuple[Problem, ...]]
"""What prevents serving, and what does not."""


def limits(config: Config | None, *, offline: bool) -> Found:
    """Of limits.shared."""
    if config is None or config.limits.shared is None:
        return (), ()
    if (problem := shared.missing()) is not None:
        return (problem,), ()
    note = shared.unreadable(config.limits.shared)
    if note is None and not offline:
        note = asyncio.run(shared.unreachable(config.limits.shared))
    return (), (note,) if note is not None else ()


def fleet(config: Config | None, *, offline: bool) -> Found:
    """Of fleet."""
    if config is None or config.fleet is None:
        return (), ()
    from modelward.fleet.opening import open_store, unreachable  # noqa: PLC0415 - only where there is one

    try:
        open_store(config.fleet)
    except ProblemsFound as found:
        return found.problems, ()
    note = None if offline else asyncio.run(unreachable(config.fleet))
    return (), (note,) if note is not None else ()
