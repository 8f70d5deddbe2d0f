"""`modelward whoami`: who you are for a running server, what proves it, and which roles that name has."""

import argparse
from typing import Any

from modelward.cli import admin
from modelward.cli.admin import add_arguments, as_json
from modelward.cli.output import console, print_json, print_table
from modelward.cli.text import plain

__all__ = ["add_arguments", "run"]

GRANTS = ("binding", "roles", "models")
PROOFS = {
    "certificate": "client certificate",
    "token": "token",
    "socket": "user of the Unix socket's client",
    "address": "nothing: that is only the address",
}


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 where the server answers, 1 where it does not know who you are, 2 where no server answers."""
    return admin.run(arguments, lambda client: _show(client, json=arguments.json))


def _show(client: admin.Client, *, json: bool) -> int:
    me: Any = client.call("WhoAmI", admin.ANSWER_SECONDS)
    if json:
        print_json(as_json(me))
        return admin.DONE
    lines = [
        ("name", me.name),
        ("proved by", PROOFS.get(me.proof, me.proof)),
        ("issuer", me.issuer),
        ("from", me.origin),
        ("break glass", "yes" if me.break_glass and me.configured else ""),
    ]
    out = console()
    for label, text in lines:
        if text:
            out.print(f"{label:<12} {plain(text)}", soft_wrap=True)
    if not me.configured:
        out.print("operators is not configured: each client that can connect may do everything", soft_wrap=True)
    elif me.grants:
        print_table(
            "roles", GRANTS, [(each.binding, ", ".join(each.roles), ", ".join(each.models)) for each in me.grants]
        )
    else:
        out.print("no roles: no binding is for this name", soft_wrap=True)
    admin.tell_restart(me.needs_restart)
    return admin.DONE
