"""Why a worker that has ended is a problem, and what is lost with the one that follows it."""

from __future__ import annotations

from modelward.problem import Problem
from modelward.repository.refused import problems_of
from modelward.supervisor.worker_process import WorkerProcess


def lost(before: WorkerProcess | None, after: WorkerProcess) -> tuple[Problem, ...]:
    """Why a worker does not serve versions that the one before it serves, whose files were good then."""
    if before is None or before.report is None or after.report is None:
        return ()
    served, next_served = before.report.versions, after.report.versions
    return problems_of(
        each
        for each in after.report.refused
        if set(served.get(each.name, ())) - set(next_served.get(each.name, ())) and each.name in served
    )


def died_at_reload(number: int) -> Problem:
    why, how = "it ended while it read, opened or tried a model", "Look for its last words in the log"
    return Problem(f"worker {number} has not survived the reload", "models", why, how)


def ending_of(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def died_at_start(code: int) -> Problem:
    how = "Look for its last words above; an exit by signal 9 is often a want of memory"
    return Problem(f"a worker ended with {ending_of(code)} before it was ready", "workers", how=how)
