"""A connection to PostgreSQL that always answers in time, if only with an error, and is made again when it was lost."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from modelward.config.postgres import Postgres
from modelward.config.units import SECOND
from modelward.problem import Problem, ProblemsFound

if TYPE_CHECKING:
    from psycopg import Connection, Cursor

T = TypeVar("T")

HOW_EXTRA = "pip install 'modelward[postgres]', or build the image with EXTRAS=postgres; or leave {key} out"
LONGEST_WORDS = 200
LOCK_SHARE = 0.6  # of the time that a transaction has, so that there is time to find out who holds the lock

# Of one transaction alone, so that it works behind a pooler too. A commit that is not on disk is not confirmed.
SETTINGS = """
SELECT set_config('statement_timeout', %(ms)s, true), set_config('lock_timeout', %(lock_ms)s, true),
  set_config('idle_in_transaction_session_timeout', %(ms)s, true),
  set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
    ELSE current_setting('synchronous_commit') END, true), current_setting('fsync')
"""


class Failed(OSError):
    """Nothing was committed; or where it is `unsure`, that is not known."""

    def __init__(self, words: str, *, unsure: bool = False) -> None:
        super().__init__(words)  # without a number: it is no failure of this system
        self.unsure = unsure


class Database:
    """Used by one thread at a time. seconds: the longest that connecting, and a transaction, may take. key: of the
    configuration, for problems. durable: what was confirmed must outlive a loss of power."""

    def __init__(
        self, settings: Postgres, seconds: float = 0.0, *, key: str = "audit.postgres", durable: bool = True
    ) -> None:
        self._settings = settings
        self._key = key
        self._durable = durable
        self._seconds = seconds or settings.timeout / SECOND
        self._connection: Connection[Any] | None = None
        self._socket: socket.socket | None = None  # the connection's, in a handle of our own

    def run(self, work: Callable[[Cursor[Any]], T]) -> T:
        """Calls `work` in a transaction, which is committed when this returns. Raises Failed, ProblemsFound.

        `work` is called again where a connection was found to be lost before anything was committed.
        """
        fresh = self._connection is None
        try:
            return self._run(work)
        except Failed as failed:
            if fresh or failed.unsure or self._connection is not None:
                raise
        return self._run(work)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        handle, self._socket = self._socket, None
        if connection is not None:
            connection.close()
        if handle is not None:
            handle.close()

    def _run(self, work: Callable[[Cursor[Any]], T]) -> T:
        psycopg = driver(self._key)
        connection = self._connected()
        assert self._socket is not None
        # A server that was stopped keeps its connections: no timeout of its own ends them.
        timer = threading.Timer(self._seconds, _shut, (self._socket,))
        timer.daemon = True
        timer.start()
        committing = False
        try:
            with connection.transaction():
                cursor = connection.cursor(binary=True)
                limits = {"ms": self._seconds, "lock_ms": self._seconds * LOCK_SHARE}
                cursor.execute(SETTINGS, {name: str(max(1, int(1000 * each))) for name, each in limits.items()})
                told = cursor.fetchone()
                if self._durable and told is not None and told[-1] == "off":
                    raise ProblemsFound([_forgetful(self._settings)])
                found = work(cursor)
                committing = True
            return found
        except psycopg.Error as error:
            unsure = committing and connection.broken
            if connection.broken or connection.closed:
                self.close()
            raise Failed(_words(error), unsure=unsure) from error
        finally:
            timer.cancel()

    def _connected(self) -> Connection[Any]:
        psycopg = driver(self._key)
        if self._connection is not None:
            return self._connection
        settings = self._settings
        options = settings.options
        try:
            if (password := settings.password) is not None:
                options["password"] = password
        except (OSError, ValueError) as error:
            raise Failed(f"{self._key}.password_file cannot be read: {error}") from error
        try:
            connection: Connection[Any] = psycopg.connect(
                settings.url,
                autocommit=True,
                connect_timeout=max(1, round(self._seconds)),
                application_name="modelward",
                prepare_threshold=None,
                client_encoding="UTF8",
                **options,
            )
        except psycopg.Error as error:
            raise Failed(_words(error)) from error
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        self._connection = connection
        self._socket = socket.socket(fileno=os.dup(connection.fileno()))
        return connection


def driver(key: str = "audit.postgres") -> Any:
    """Raises ProblemsFound where it is not installed. key: of the configuration, that asks for it."""
    try:
        import psycopg  # noqa: PLC0415 - an extra
    except ImportError:
        raise ProblemsFound([missing_driver(key)]) from None
    return psycopg


def missing_driver(key: str = "audit.postgres") -> Problem:
    how = HOW_EXTRA.format(key=key)
    return Problem("the package psycopg is not installed", key, "it speaks to the database", how)


def _forgetful(settings: Postgres) -> Problem:
    why, how = "it may lose what it has confirmed", "Set fsync = on in postgresql.conf"
    return Problem(f"{settings.where} has fsync off", "audit.postgres", why, how)


def _shut(handle: socket.socket) -> None:
    with suppress(OSError):
        handle.shutdown(socket.SHUT_RDWR)


def _words(error: Exception) -> str:
    """The database's own, without details, which quote what was written."""
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    lines = str(primary or error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:LONGEST_WORDS]
