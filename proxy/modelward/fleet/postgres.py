"""The store in a PostgreSQL: documents in a table, what servers say in another, which a crash may empty.

Each call is one transaction, in a thread of its own, since the driver waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from modelward.audit.database import Database, Failed
from modelward.config.fleet import Fleet
from modelward.config.postgres import Postgres
from modelward.fleet.store import (
    KEPT_SECONDS,
    LARGEST_DOCUMENT,
    LARGEST_EVIDENCE,
    LARGEST_NOTE,
    LEASE_SECONDS,
    LONGEST_DOCUMENT_NAME,
    LONGEST_REPLICA,
    LONGEST_WORD,
    MOST_COUNTED,
    MOST_DOCUMENTS,
    MOST_REPLICAS,
    MOST_TOLD,
    TIMEOUT_SECONDS,
    Document,
    NotTaken,
    Seen,
    StoreError,
    Told,
)
from modelward.problem import ProblemsFound

T = TypeVar("T")

SCHEMA = "modelward_fleet"
VERSION = "modelward fleet, version 1"
LONGEST_CALL_SECONDS = 3 * TIMEOUT_SECONDS  # a connection, a transaction, and one more where the first was lost
TABLES = f"""\
CREATE SCHEMA IF NOT EXISTS {SCHEMA};
CREATE TABLE IF NOT EXISTS {SCHEMA}.fleets (
  fleet text PRIMARY KEY, revision text NOT NULL, leader text NOT NULL, until timestamptz NOT NULL);
CREATE TABLE IF NOT EXISTS {SCHEMA}.documents (
  fleet text NOT NULL, name text NOT NULL, epoch bigint NOT NULL, data bytea NOT NULL, PRIMARY KEY (fleet, name));
CREATE UNLOGGED TABLE IF NOT EXISTS {SCHEMA}.servers (
  fleet text NOT NULL, replica text NOT NULL, seen timestamptz NOT NULL, note bytea NOT NULL, evidence bytea NOT NULL,
  PRIMARY KEY (fleet, replica));
COMMENT ON SCHEMA {SCHEMA} IS '{VERSION}';
"""
RENEW = "md5(random()::text || clock_timestamp()::text) WHERE fleet = %s"


class PostgresStore:
    """One connection, made when it is needed, and the tables with the first."""

    def __init__(self, settings: Fleet) -> None:
        database = Postgres(url=settings.url, password_file=settings.password_file)
        self._database = Database(database, TIMEOUT_SECONDS, key="fleet", durable=False)
        self._fleet = settings.name
        self.where = settings.where
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fleet")
        self._prepared = False

    async def exchange(
        self,
        replica: str,
        *,
        identity: str,
        note: bytes,
        evidence: bytes,
        revision: str,
        may_lead: bool,
        names: Sequence[str] = (),
    ) -> Seen:
        def work(cursor: Any) -> Seen:
            cursor.execute("SET LOCAL synchronous_commit TO off")
            cursor.execute(
                f"WITH said AS (SELECT note FROM {SCHEMA}.servers WHERE fleet = %(fleet)s AND replica = %(replica)s"
                f" AND octet_length(note) <= {LARGEST_NOTE})"
                f" INSERT INTO {SCHEMA}.servers (fleet, replica, seen, note, evidence)"
                f" SELECT %(fleet)s, %(replica)s, clock_timestamp(), %(note)s, %(evidence)s"
                f" WHERE (SELECT count(*) FROM {SCHEMA}.servers WHERE fleet = %(fleet)s) < {MOST_REPLICAS}"
                f" OR EXISTS (SELECT 1 FROM {SCHEMA}.servers WHERE fleet = %(fleet)s AND replica = %(replica)s)"
                " ON CONFLICT (fleet, replica) DO UPDATE"
                " SET seen = excluded.seen, note = excluded.note, evidence = excluded.evidence"
                " RETURNING (SELECT note FROM said)",
                {"fleet": self._fleet, "replica": replica, "note": note, "evidence": evidence},
            )
            said = bytes((cursor.fetchone() or [None])[0] or b"")
            cursor.execute(
                f"UPDATE {SCHEMA}.fleets SET until = clock_timestamp() + interval '{LEASE_SECONDS} seconds'"
                f" WHERE fleet = %s AND leader <> ''"
                f" AND until > clock_timestamp() + interval '{LEASE_SECONDS} seconds' RETURNING 1",
                (self._fleet,),
            )
            endless = cursor.fetchone() is not None
            if may_lead:
                cursor.execute(
                    f"UPDATE {SCHEMA}.fleets SET leader = %(identity)s,"
                    f" until = clock_timestamp() + interval '{LEASE_SECONDS} seconds' WHERE fleet = %(fleet)s"
                    " AND (leader IN ('', %(identity)s) OR until < clock_timestamp())",
                    {"fleet": self._fleet, "identity": identity},
                )
            else:
                self._release(cursor, identity)
            cursor.execute(
                f"SELECT left(revision, {LONGEST_WORD}),"
                f" CASE WHEN until < clock_timestamp() THEN '' ELSE left(leader, {LONGEST_WORD}) END"
                f" FROM {SCHEMA}.fleets WHERE fleet = %s",
                (self._fleet,),
            )
            found, leader = cursor.fetchone()
            if found == revision:
                return Seen(found, leader, None, said, endless)
            cursor.execute(
                f"SELECT name, epoch, CASE WHEN octet_length(data) <= {LARGEST_DOCUMENT} AND size <= {MOST_TOLD}"
                " THEN data ELSE '' END FROM (SELECT name, epoch, data, name = ANY(%(names)s) AS named,"
                f" sum(least(octet_length(data), {LARGEST_DOCUMENT})) OVER (ORDER BY name = ANY(%(names)s) DESC, name)"
                f" AS size FROM {SCHEMA}.documents WHERE fleet = %(fleet)s"
                f" AND octet_length(name) <= {LONGEST_DOCUMENT_NAME}) AS told"
                f" WHERE named OR size <= {MOST_TOLD} ORDER BY named DESC, name LIMIT {MOST_DOCUMENTS}",
                {"fleet": self._fleet, "names": [*names]},
            )
            documents = {name: Document(epoch, bytes(data)) for name, epoch, data in cursor.fetchall()}
            return Seen(found, leader, documents, said, endless)

        return await self._run(work)

    async def swap(self, name: str, before: int, epoch: int, data: bytes) -> Document | None:
        if len(data) > LARGEST_DOCUMENT:
            raise NotTaken(f"{name} has {len(data)} bytes, and a document at most {LARGEST_DOCUMENT}")
        values = {"fleet": self._fleet, "name": name, "before": before, "epoch": epoch, "data": data}

        def work(cursor: Any) -> Document | None:
            cursor.execute(
                f"UPDATE {SCHEMA}.documents SET epoch = %(epoch)s, data = %(data)s"
                " WHERE fleet = %(fleet)s AND name = %(name)s AND epoch = %(before)s RETURNING 1",
                values,
            )
            done = cursor.fetchone() is not None
            if not done and not before:
                cursor.execute(
                    f"INSERT INTO {SCHEMA}.documents (fleet, name, epoch, data)"
                    " VALUES (%(fleet)s, %(name)s, %(epoch)s, %(data)s) ON CONFLICT DO NOTHING RETURNING 1",
                    values,
                )
                done = cursor.fetchone() is not None
            if done:
                cursor.execute(f"UPDATE {SCHEMA}.fleets SET revision = {RENEW}", (self._fleet,))
                return None
            cursor.execute(
                f"SELECT epoch, CASE WHEN octet_length(data) <= {LARGEST_DOCUMENT} THEN data ELSE '' END"
                f" FROM {SCHEMA}.documents WHERE fleet = %(fleet)s AND name = %(name)s",
                values,
            )
            there = cursor.fetchone()
            return Document(there[0], bytes(there[1])) if there is not None else Document(0, b"")

        return await self._run(work)

    async def notes(self) -> Mapping[str, Told]:
        return await self._told("note", LARGEST_NOTE)

    async def evidence(self) -> Mapping[str, Told]:
        return await self._told("evidence", LARGEST_EVIDENCE)

    async def leave(self, replica: str, identity: str) -> None:
        def work(cursor: Any) -> None:
            self._release(cursor, identity)
            cursor.execute(f"DELETE FROM {SCHEMA}.servers WHERE fleet = %s AND replica = %s", (self._fleet, replica))

        await self._run(work)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._database.close)
        self._thread.shutdown(wait=False)

    def _release(self, cursor: Any, identity: str) -> None:
        cursor.execute(
            f"UPDATE {SCHEMA}.fleets SET leader = '' WHERE fleet = %s AND leader = %s", (self._fleet, identity)
        )

    async def _told(self, column: str, largest: int) -> Mapping[str, Told]:
        def work(cursor: Any) -> Mapping[str, Told]:
            cursor.execute("SET LOCAL synchronous_commit TO off")
            cursor.execute(
                f"DELETE FROM {SCHEMA}.servers WHERE fleet = %s"
                f" AND abs(extract(epoch FROM seen) - extract(epoch FROM clock_timestamp())) > {KEPT_SECONDS}",
                (self._fleet,),
            )
            cursor.execute(
                "SELECT replica, extract(epoch FROM clock_timestamp() - seen)::float8, said FROM ("
                f"SELECT replica, seen, {column} AS said, sum(octet_length({column})) OVER (ORDER BY replica) AS size"
                f" FROM {SCHEMA}.servers WHERE fleet = %s AND octet_length({column}) BETWEEN 1 AND {largest}"
                f" AND octet_length(replica) <= {LONGEST_REPLICA} LIMIT {MOST_REPLICAS}) AS told"
                f" WHERE size <= {MOST_COUNTED}",
                (self._fleet,),
            )
            return {replica: Told(max(age, 0.0), bytes(data)) for replica, age, data in cursor.fetchall()}

        return await self._run(work)

    async def _run(self, work: Callable[[Any], T]) -> T:
        try:
            async with asyncio.timeout(LONGEST_CALL_SECONDS):
                return await asyncio.get_running_loop().run_in_executor(self._thread, self._in_time, work)
        except TimeoutError as error:
            raise StoreError("no answer in time") from error

    def _in_time(self, work: Callable[[Any], T]) -> T:
        try:
            if not self._prepared:
                self._prepare()
            return self._database.run(work)
        except Failed as error:
            self._prepared = False  # it may have lost them
            raise StoreError(str(error)) from error
        except ProblemsFound as found:
            raise StoreError("; ".join(each.what for each in found.problems)) from found
        except (TypeError, ValueError, UnicodeError) as error:  # rows that are none of this program's
            self._prepared = False
            raise StoreError(f"its tables are none of this program's: {error}") from error

    def _prepare(self) -> None:
        try:
            self._database.run(self._tables)
        except Failed:  # as where another server made them at the same time
            self._database.run(self._tables)
        self._prepared = True

    def _tables(self, cursor: Any) -> None:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", (f"{SCHEMA}.servers",))
        if not cursor.fetchone()[0]:
            cursor.execute(TABLES, binary=False)  # several statements at once
        cursor.execute(
            f"INSERT INTO {SCHEMA}.fleets (fleet, revision, leader, until)"
            " VALUES (%s, md5(random()::text || clock_timestamp()::text), '', '-infinity') ON CONFLICT DO NOTHING",
            (self._fleet,),
        )
