"""`python -m loadtests.attack`: attacks by name, or all of them against servers of its own."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from loadtests.attack import churn, floods, headers, payloads, resets, shares, slow, words
from loadtests.attack.arena import BYSTANDER_TIMES, MEMORY_MIB, Result, arena, rows, run
from loadtests.attack.attack import ATTACKS, repeated
from loadtests.attack.raw import Target
from loadtests.tools import machine, results
from loadtests.tools.results import table

FAMILIES = (resets, headers, floods, slow, churn, payloads, words, shares)
LOOPBACK = ("127.", "localhost", "::1")
METHOD = f"""\
Every attack in a process of its own (at the lowest priority: its CPU time is another machine's) against a real server
with the limits that ship, first on a plain listener, then on a TLS one, again and again for as long as --for says; a
bystander (a grpcio client in a process of its own, 200 requests/s) beside it. Memory: growth of the resident set of the
server's process tree at its largest. p99: of the bystander, in the seconds before the attack and during it. Ended:
connections of the attacker that were refused, reset or closed (or whose every stream was; where `list` says so: whose
calls were answered, or are open as far as there are places), and after how long; where a timeout is the defence,
counted from when it has passed. Bars: {MEMORY_MIB:.0f} MiB (and what callers may hold, where they do), no error, p99
within {BYSTANDER_TIMES:g} times its quiet value, 10 s."""
COLUMNS = (
    "attack", "listener", "sent", "memory MiB", "bystander errors", "quiet p99 ms", "attacked p99 ms", "ended",
    "after s", "verdict",
)  # fmt: skip


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.attack", description=__doc__)
    parser.add_argument("name", help="an attack, list, or all")
    parser.add_argument(
        "--target", metavar="HOST:PORT", help="a server on loopback that serves models add and amplifier"
    )
    parser.add_argument("--admin", type=int, default=0, metavar="PORT", help="the target's admin API, on plain TCP")
    parser.add_argument("--tls", action="store_true", help="the target speaks TLS")
    parser.add_argument("--scale", type=float, default=1.0, help="of the counts (default: %(default)s)")
    parser.add_argument(
        "--timeouts", type=float, nargs=3, metavar=("HANDSHAKE", "REQUEST", "STALLED"), default=(5.0, 30.0, 30.0),
        help="the target's limits.timeouts, in seconds",
    )  # fmt: skip
    parser.add_argument("--for", dest="seconds", type=float, default=0.0, help="repeat it for this many seconds")
    parser.add_argument("--only", action="append", metavar="TEXT", help="all: attacks whose names hold this")
    parser.add_argument("--listener", choices=("plain", "TLS"), help="all: one kind of listener")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of text")
    parser.add_argument(
        "--write", action="store_true", help="all: replace loadtests/results/attacks.md and attacks.json"
    )
    return parser.parse_args()


def one(options: argparse.Namespace) -> int:
    host, _, port = (options.target or "").rpartition(":")
    if not host.startswith(LOOPBACK) or not port.isdigit():
        print("--target is HOST:PORT on loopback", file=sys.stderr)
        return 2
    outcome = repeated(
        ATTACKS[options.name],
        Target(
            host,
            int(port),
            options.tls,
            handshake=options.timeouts[0],
            request=options.timeouts[1],
            stalled=options.timeouts[2],
            admin=options.admin,
        ),
        options.scale,
        options.seconds,
    )
    if options.json:
        print(json.dumps(outcome.to_json(), indent=1))
    else:
        for name, figure in outcome.to_json().items():
            print(f"{name:12} {figure}")
    return 0 if outcome.all_ended else 1


def all_of_them(options: argparse.Namespace) -> int:
    """0 if every promise was kept."""
    found: list[Result] = []
    listeners = [options.listener] if options.listener else ["plain", "TLS"]
    with Console(stderr=True).status("") as status:
        for listener in listeners:
            for name in rows(listener):
                if options.only and not any(text in name for text in options.only):
                    continue
                status.update(f"{name}, {listener}")
                with (
                    tempfile.TemporaryDirectory(prefix="modelward-attack-") as folder,
                    arena(Path(folder), tls=listener == "TLS") as running,
                ):
                    found.append(run(running, name, scale=options.scale, seconds=options.seconds))
    lines = [_row(result) for result in found]
    kept = sum(not result.failures() for result in found)
    body = f"{table(COLUMNS, lines)}\n\n{kept} of {len(found)} kept every promise."
    facts, data = machine.facts(), [result.to_json() for result in found]
    print(json.dumps(data, indent=1) if options.json else body)
    if options.write:
        command = machine.command("loadtests.attack")
        text = results.document("Attacks, and what they cost others", METHOD, facts, command, body)
        results.write("attacks", text, {**facts, "attacks": data})
    return 0 if kept == len(found) else 1


def _row(result: Result) -> tuple[str, ...]:
    outcome = result.outcome
    after = "never" if outcome["seconds"] is None else f"{outcome['seconds']:.2f}"
    return (
        result.name,
        result.listener,
        f"{outcome['sent']:,}",
        f"{result.grown_mib:.1f}",
        str(result.errors),
        f"{result.quiet_p99_ms:.2f}",
        f"{result.attacked_p99_ms:.2f}",
        f"{outcome['ended']}/{outcome['connections']}",
        after,
        "; ".join(result.failures()) or "kept",
    )


def main() -> int:
    options = arguments()
    assert all(family.__name__ for family in FAMILIES)  # imported for what they register
    if options.name == "list":
        for attack in ATTACKS.values():
            print(f"{attack.family:10} {attack.name:34} {attack.end:9} {attack.about}")
        return 0
    if options.name == "all":
        return all_of_them(options)
    if options.name in ATTACKS and ATTACKS[options.name].admin and not options.admin:
        print(f"{options.name} needs --admin PORT", file=sys.stderr)
        return 2
    if options.name not in ATTACKS:
        print(f"{options.name!r} is no attack; `list` names them", file=sys.stderr)
        return 2
    return one(options)


if __name__ == "__main__":
    sys.exit(main())
