"""The lock of a log in PostgreSQL: one transaction writes at a time.

It is a row that only a role with the right to write can lock. An advisory lock can be had by each role that may
connect, and its number is no secret.
"""

from __future__ import annotations

from typing import Any

from modelward.audit.database import Failed, driver

# A row lock is the transaction whose number the row bears; a table lock stands by itself.
HOLDERS = """
SELECT DISTINCT a.pid, a.usename FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)
  WHERE l.granted AND l.pid <> pg_catalog.pg_backend_pid() AND {which} ORDER BY a.pid LIMIT 3
"""
OF_TABLE = HOLDERS.format(
    which="l.relation = pg_catalog.to_regclass(%s) AND l.mode IN ('ExclusiveLock', 'AccessExclusiveLock')"
)


def lock(cursor: Any, schema: str, log: str) -> None:
    """Until the transaction ends, also where it ends with the connection. Raises Failed, which names the holder."""
    try:
        with cursor.connection.transaction():
            _take(cursor, schema, log)
    except driver().errors.LockNotAvailable as error:
        raise Failed(f"the lock of the log is held by {_holders(cursor, schema, log)}") from error


def _take(cursor: Any, schema: str, log: str) -> None:
    select = f"SELECT 1 FROM {schema}.writers WHERE log = %s FOR UPDATE"
    if cursor.execute(select, (log,)).fetchone() is None:
        cursor.execute(f"INSERT INTO {schema}.writers (log) VALUES (%s) ON CONFLICT DO NOTHING", (log,))
        cursor.execute(select, (log,))


def _holders(cursor: Any, schema: str, log: str) -> str:
    cursor.execute(OF_TABLE, (f"{schema}.writers",))
    found = cursor.fetchall()
    if not found:  # else its row cannot be read either
        row = f"l.transactionid = (SELECT xmax FROM {schema}.writers WHERE log = %s)"
        found = cursor.execute(HOLDERS.format(which=row), (log,)).fetchall()
    return ", ".join(f"process {pid} of role {role}" for pid, role in found) or "another transaction"
