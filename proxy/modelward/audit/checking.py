"""What `modelward check` finds of an audit trail's stores and witnesses, before a server starts with them."""

from __future__ import annotations

from modelward.audit.database import Database, Failed, driver
from modelward.audit.witnesses import key_of
from modelward.config.schema import Config
from modelward.problem import Gather, Problem, ProblemsFound


def problems(config: Config) -> tuple[Problem, ...]:
    """That prevent serving."""
    if (settings := config.audited) is None:
        return ()
    gather = Gather()
    if settings.postgres is not None:
        gather.step(driver)
    for witness in settings.witnesses:
        gather.step(lambda each=witness: key_of(each))  # type: ignore[misc]
    return tuple(gather.problems)


def unreachable(config: Config) -> tuple[Problem, ...]:
    """That the server would start with, and refuse what operators ask for."""
    if (settings := config.audited) is None or (postgres := settings.postgres) is None:
        return ()
    database = Database(postgres)
    try:
        database.run(lambda cursor: None)
    except Failed as failed:
        why = "what operators ask for is refused until it answers"
        how = "Start it, or mend audit.postgres: serve would begin without it and try on"
        return (Problem(f"{postgres.where} cannot be reached: {failed}", "audit.postgres", why, how),)
    except ProblemsFound as found:
        return found.problems
    finally:
        database.close()
    return ()
