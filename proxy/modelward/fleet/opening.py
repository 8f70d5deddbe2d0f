"""The store of a fleet, as its URL names it."""

from __future__ import annotations

from modelward.audit.database import driver
from modelward.config.fleet import Fleet
from modelward.fleet.store import Store, StoreError
from modelward.problem import Problem, ProblemsFound

REDIS = "pip install 'modelward[redis]', or build the image with EXTRAS=redis; or leave fleet out"
HOW = "Start it, or mend fleet.url, fleet.password_file or the user's rights, as the reason says: serve would try on"


def open_store(settings: Fleet) -> Store:
    """Not connected yet. Raises ProblemsFound where what speaks to it is not installed."""
    if settings.is_postgres:
        driver("fleet")
        from modelward.fleet.postgres import PostgresStore  # noqa: PLC0415 - an extra

        return PostgresStore(settings)
    try:
        import redis.asyncio  # noqa: F401, PLC0415 - an extra
    except ImportError:
        raise ProblemsFound(
            [Problem("the package redis is not installed", "fleet", "it speaks to the store", REDIS)]
        ) from None
    from modelward.fleet.valkey import ValkeyStore  # noqa: PLC0415

    return ValkeyStore(settings)


async def unreachable(settings: Fleet) -> Problem | None:
    """Why the store cannot be had at the moment."""
    store = open_store(settings)
    try:
        await store.notes()
    except StoreError as error:
        what = f"{settings.where} cannot be reached: {error}"
        return Problem(what, "fleet", "this server would decide alone", HOW)
    finally:
        await store.close()
    return None
