"""The tables of an audit log in PostgreSQL, and what each user of them needs."""

from __future__ import annotations

from typing import Any

from modelward.problem import Problem, ProblemsFound

VERSION = "modelward audit log, version 1"

# hashes: of level 0 those of the records, of level L the roots of 256 of the level below, as in C2SP's tiles. They
# stay where retention removes records. writers: of each log the row that a writer locks. trail: for people who read
# with SQL.
TABLES = """\
CREATE SCHEMA IF NOT EXISTS {schema};
CREATE TABLE IF NOT EXISTS {schema}.records (
  log text NOT NULL, n bigint NOT NULL, record bytea NOT NULL, PRIMARY KEY (log, n));
CREATE TABLE IF NOT EXISTS {schema}.hashes (
  log text NOT NULL, level smallint NOT NULL, n bigint NOT NULL, hash bytea NOT NULL CHECK (octet_length(hash) = 32),
  PRIMARY KEY (log, level, n));
CREATE TABLE IF NOT EXISTS {schema}.checkpoints (
  log text NOT NULL, size bigint NOT NULL, id bigint GENERATED ALWAYS AS IDENTITY, note bytea NOT NULL,
  PRIMARY KEY (log, size, id));
CREATE TABLE IF NOT EXISTS {schema}.writers (log text PRIMARY KEY);
CREATE OR REPLACE VIEW {schema}.trail AS
  SELECT log, n, convert_from(record, 'UTF8')::json AS record FROM {schema}.records;
COMMENT ON SCHEMA {schema} IS '{version}';
"""

GRANTS = """\
-- the roles must exist: CREATE ROLE {server} LOGIN; CREATE ROLE {auditor} LOGIN;
-- servers: they add, and change nothing
GRANT USAGE ON SCHEMA {schema} TO {server};
GRANT SELECT, INSERT ON {schema}.records, {schema}.hashes, {schema}.checkpoints TO {server};
-- the row that who writes locks, which takes a right to update it
GRANT SELECT, INSERT, UPDATE (log) ON {schema}.writers TO {server};
-- only where audit.retention is set:
-- GRANT DELETE ON {schema}.records TO {server};
-- auditors
GRANT USAGE ON SCHEMA {schema} TO {auditor};
GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {auditor};
-- others need not connect at all; write the name of the database:
-- REVOKE CONNECT ON DATABASE audit FROM PUBLIC;
-- GRANT CONNECT ON DATABASE audit TO {server}, {auditor};
"""


def statements(schema: str, server: str = "modelward", auditor: str = "auditor") -> str:
    """What the owner of the database runs where the servers' user may not create tables."""
    grants = GRANTS.format(schema=schema, server=server, auditor=auditor)
    return f"{TABLES.format(schema=schema, version=VERSION)}\n{grants}"


def prepare(cursor: Any, schema: str, where: str) -> None:
    """Makes the tables where there are none; two that do so at one time fail each other. Raises ProblemsFound where
    they are of another version, or the user may not make them; the driver's errors."""
    cursor.execute("SELECT obj_description(to_regnamespace(%s), 'pg_namespace')", (schema,))
    (found,) = cursor.fetchone()
    if found == VERSION:
        cursor.execute("SELECT to_regclass(%s)", (f"{schema}.writers",))
        if cursor.fetchone()[0] is not None:
            return  # else they were made before there was that one
    elif found is not None:
        how = "Set audit.postgres.schema_name to another schema, or run the release that made this one"
        raise ProblemsFound([Problem(f"the schema {schema} holds something else: {found}", where, how=how)])
    cursor.execute("SELECT has_database_privilege(current_database(), 'CREATE')")
    if not cursor.fetchone()[0]:
        why, how = "its user may not make them", "Let its owner run what `modelward audit sql` prints"
        raise ProblemsFound([Problem(f"the database has no tables for an audit log in {schema}", where, why, how)])
    cursor.execute(TABLES.format(schema=schema, version=VERSION), binary=False)  # several statements at once
