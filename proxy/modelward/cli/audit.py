"""`modelward audit`: reads the audit trail, checks that it is whole, and proves what is in it. Asks no server."""

from __future__ import annotations

import argparse

from modelward.cli import audit_export, audit_log, audit_prove, audit_show, audit_sql, audit_verify, audit_witness
from modelward.cli.output import print_json

EPILOG = "It reads the folder of the log, or the PostgreSQL that --config names. Copies of the folder do as well."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    tail = actions.add_parser("tail", help="show the last records, and follow", description=(
        "Shows the last records that match, and with --follow those to come."
    ))  # fmt: skip
    audit_show.add_tail_arguments(tail)
    show = actions.add_parser("show", help="show one record, and what came of it", description=(
        "Shows one record with all its fields and proves that it is in the log; beside it the records of the same "
        "request: that it was asked for, and what came of it."
    ))  # fmt: skip
    audit_show.add_show_arguments(show)
    query = actions.add_parser("query", help="show all records that match", description=(
        "Shows all records that match, the oldest first. Texts are patterns: * stands for anything."
    ))  # fmt: skip
    audit_show.add_query_arguments(query)
    export = actions.add_parser("export", help="write records as JSON lines or CSV", description=(
        "Writes all records that match: as JSON lines, which are the very bytes of the log, or as CSV."
    ))  # fmt: skip
    audit_export.add_arguments(export)
    verify = actions.add_parser("verify", help="check that nothing was changed", description=(
        "Hashes every record again and compares with what the log's key has signed. Names the first record that was "
        "changed, removed, added or moved. Needs the public key alone."
    ))  # fmt: skip
    audit_verify.add_arguments(verify)
    prove = actions.add_parser("prove", help="prove that a record is in the log", description=(
        "Prints a proof that can be checked without the log: N that the record is in it (c2sp.org/tlog-proof), A..B "
        "that the log of B records begins with that of A."
    ))  # fmt: skip
    audit_prove.add_arguments(prove)
    key = actions.add_parser("key", help="print the public key of the log", description=(
        "Prints the public key of the log, as NAME+KEYID+KEY. Keep a copy where the server cannot write."
    ))  # fmt: skip
    audit_log.add_arguments(key)
    witness = actions.add_parser("witness", help="serve a witness of other servers' logs", description=(
        "Remembers the checkpoints of audit logs, and cosigns those that go on from there (c2sp.org/tlog-witness). Who "
        "owns a log's disk cannot rewrite it unnoticed. Run it on another machine."
    ))  # fmt: skip
    audit_witness.add_arguments(witness)
    sql = actions.add_parser("sql", help="print what makes the tables in PostgreSQL", description=(
        "Prints the statements that make the tables of an audit log, and the rights that servers and readers need."
    ))  # fmt: skip
    audit_sql.add_arguments(sql)
    actions.add_parser("schema", help="print the JSON schema of a record", description=(
        "Prints the JSON schema of a record as it is written."
    ))  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 where all is well, 1 where the log is not whole, cannot be read, or has no such record."""
    if arguments.action == "schema":
        from modelward.audit.record import schema  # noqa: PLC0415 - alone it needs no cryptography

        print_json(schema())
        return 0
    if arguments.action == "sql":
        return audit_sql.run(arguments)
    if arguments.action == "witness":
        return audit_witness.run(arguments)
    actions = {
        "tail": audit_show.tail,
        "show": audit_show.show,
        "query": audit_show.query,
        "export": audit_export.export,
        "verify": audit_verify.run,
        "prove": audit_prove.prove,
        "key": audit_prove.key,
    }
    return audit_log.reading(actions[arguments.action], arguments)
