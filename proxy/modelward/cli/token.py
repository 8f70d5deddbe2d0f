"""`modelward token add`, `list` and `revoke`: the file of API keys that `access.keys` names.

A server that has the file open looks at it once a second: what is added counts, and what is revoked no longer does,
within seconds.
"""

import argparse
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from modelward.access import keys
from modelward.access.keys import Key
from modelward.access.names import is_name
from modelward.cli.output import console, print_json, print_table
from modelward.cli.text import plain
from modelward.problem import Problem, ProblemsFound

DEFAULT_FILE = Path("modelward-keys.json")
COLUMNS = ("name", "id", "created", "expires")
SPAN = {"d": 86400, "h": 3600, "m": 60, "s": 1}
LONGEST_SECONDS = 100 * 366 * 86400
HOW_SPAN = "Write a number of days, hours, minutes or seconds: 30d, 12h, 15m, 60s"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = actions.add_parser("add", help="make a key", description=(
        "Makes a key and prints it once. The file keeps only a hash of it. Several keys may have the same name."
    ))  # fmt: skip
    add.add_argument("name", metavar="NAME", help="identity of the caller, as rules of `access` name it")
    add.add_argument("--expires", metavar="SPAN", help="time until the key expires: 30d, 12h, 15m (default: never)")
    listing = actions.add_parser("list", help="list the keys", description="Lists the keys, without their secrets.")
    listing.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    revoke = actions.add_parser(
        "revoke", help="revoke keys", description="Revokes one key by its id, or all of a name."
    )
    revoke.add_argument("key", metavar="NAME|ID", help="id of one key, or name of which all keys are revoked")
    for action in (add, listing, revoke):
        action.add_argument(
            "--file", type=Path, default=DEFAULT_FILE, metavar="FILE", help="file of access.keys (default: %(default)s)"
        )


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0, or 1 where something is wrong with the file or the arguments."""
    actions = {"add": _add, "list": _list, "revoke": _revoke}
    try:
        return actions[arguments.action](arguments)
    except OSError as error:
        what, why = f"{arguments.file} cannot be written", error.strerror or str(error)
        raise ProblemsFound([Problem(what, str(arguments.file), why, "Check the folder and its mode")]) from error


def _add(arguments: argparse.Namespace) -> int:
    name: str = arguments.name
    if not is_name(name):
        how = "Printable characters, at most 512 bytes; a SPIFFE ID must be well formed"
        raise ProblemsFound([Problem(f"{name!r} is no name of an identity", "NAME", how=how)])
    expires = None if arguments.expires is None else int(time.time()) + _span(arguments.expires)
    kept, text = keys.make(name, expires)
    with keys.editing(arguments.file) as all_keys:
        all_keys[kept.id] = kept
    print(text)
    told = f"key {kept.id} of {plain(name)}, {_until(kept)}, is in {plain(arguments.file)}; it is not shown again"
    console(error=True).print(told, soft_wrap=True)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    kept = keys.load(arguments.file).keys
    if arguments.json:
        print_json([{"id": k.id, "name": k.name, "created": k.created, "expires": k.expires} for k in kept])
        return 0
    print_table(str(arguments.file), COLUMNS, [(k.name, k.id, _date(k.created), _until(k)) for k in kept])
    return 0


def _revoke(arguments: argparse.Namespace) -> int:
    keys.load(arguments.file)  # a file that is not there has no keys to revoke: say so instead of making one
    with keys.editing(arguments.file) as all_keys:
        gone = [key for key in all_keys.values() if arguments.key in (key.id, key.name)]
        for key in gone:
            del all_keys[key.id]
    if not gone:
        how = "`modelward token list` shows names and ids"
        raise ProblemsFound([Problem(f"no key has the name or id {arguments.key!r}", str(arguments.file), how=how)])
    for key in gone:
        print(f"revoked {key.id} of {plain(key.name)}", file=sys.stderr)
    return 0


def _span(text: str) -> int:
    found = re.fullmatch(r"(\d{1,9})([dhms])", text, re.ASCII)
    seconds = int(found[1]) * SPAN[found[2]] if found else 0
    if not 0 < seconds <= LONGEST_SECONDS:
        raise ProblemsFound([Problem(f"{text!r} is no span of time", "--expires", how=HOW_SPAN)])
    return seconds


def _date(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def _until(key: Key) -> str:
    if key.expires is None:
        return "never expires"
    return f"{'expired' if key.expired(time.time()) else 'until'} {_date(key.expires)}"
