"""`python -m loadtests.idle`: resident memory of the server per connection that is open and has nothing to say.

Each connection has its HTTP/2 handshake behind it. Measured before and after one request on each. The kernel's own
memory for sockets is not in it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from loadtests.race import against
from loadtests.race.contestant import request
from loadtests.race.ours import THIS_TREE, serve
from loadtests.tools import client, machine, models, results
from loadtests.tools.process import Process, allow_files, free_ports
from loadtests.tools.results import Bar, table
from tests.models import repository

PER_PROCESS = 5_000  # an address has 28,000 ports towards one listener; and the handshakes go on in parallel
SPARE_FILES = 400  # the server keeps some back for itself
WARM_UP = 64
BAR_KIB = 12.0

METHOD = """\
Growth of the server's resident set over what it was after a warm-up, divided by the number of connections. Clients are
raw sockets in processes of their own, from several loopback addresses; every connection has completed the HTTP/2
handshake (preface, SETTINGS both ways, acknowledged). The second line is after one 156-byte ModelInfer on each."""


@dataclass(frozen=True)
class Growth:
    """What the server's resident set grew by, in KiB per connection."""

    connections: int
    base_kib: float
    handshaken_kib: float
    answered_kib: float


class Holder:
    """A client process that holds connections."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        assert popen.stdin is not None and popen.stdout is not None
        self._popen = popen
        self._stdin: IO[str] = popen.stdin
        self._stdout: IO[str] = popen.stdout

    def expect(self, word: str) -> None:
        said = self._stdout.readline().strip()
        if said != word:
            raise RuntimeError(f"a client process said {said!r} instead of {word!r}; its error is above")

    def tell(self, word: str) -> None:
        print(word, file=self._stdin, flush=True)

    def end(self) -> None:
        """Closes its stdin, which ends it and with it its connections."""
        self._stdin.close()
        self._popen.wait()
        self._stdout.close()


@contextmanager
def holding(port: int, count: int, message: Path) -> Iterator[list[Holder]]:
    """`count` connections, handshaken, over as many processes and source addresses as that takes."""
    holders: list[Holder] = []
    try:
        while count > 0:
            share = min(count, PER_PROCESS)
            source = f"127.0.0.{2 + len(holders)}"
            command = [sys.executable, "-m", "loadtests.tools.connections", str(port), source, str(share), str(message)]
            holders.append(Holder(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)))
            count -= share
        for holder in holders:
            holder.expect("open")
        yield holders
    finally:
        for holder in holders:
            holder.end()


def measure(connections: int, command: Sequence[str] = THIS_TREE) -> Growth:
    """Starts a server of its own with `command`. Raises RuntimeError where connections are refused or lost."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="modelward-idle-")))
        message = folder / "message"
        message.write_bytes(request())
        armour = {"total": connections + WARM_UP, "per_peer": PER_PROCESS + WARM_UP, "rate_per_peer": "1000000/s"}
        config = {
            "repository": str(repository(folder / "models", {models.MLP: models.mlp()})),
            "limits": {"connections": armour},
        }
        port = free_ports(1)[0]
        process = stack.enter_context(serve(folder / "config.yaml", config, port, command))
        client.wait_until_answered(port, request(), process)
        with holding(port, WARM_UP, message) as holders:
            _request_all(holders)
        return _grow(process, port, connections, message)


def _grow(process: Process, port: int, connections: int, message: Path) -> Growth:
    base = process.resident_bytes()

    def kib() -> float:
        return (process.resident_bytes() - base) / 1024 / connections

    with holding(port, connections, message) as holders:
        handshaken = kib()
        _request_all(holders)
        return Growth(connections, base / 1024, handshaken, kib())


def _request_all(holders: list[Holder]) -> None:
    for holder in holders:
        holder.tell("request")
    for holder in holders:
        holder.expect("answered")


def main() -> int:
    """0 if the memory per connection is within the bar."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.idle", description=__doc__)
    parser.add_argument("--connections", type=int, default=20_000)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    kept = parser.add_mutually_exclusive_group()  # results are of this tree
    kept.add_argument("--write", action="store_true", help="replace loadtests/results/idle.md and idle.json")
    kept.add_argument("--against", type=Path, metavar="TREE", help="another tree with an environment: measured too")
    arguments = parser.parse_args()
    allowed = allow_files(arguments.connections + SPARE_FILES) - SPARE_FILES
    if allowed < arguments.connections:
        print(f"the limit of open files (ulimit -Hn) allows only {allowed:,} connections", file=sys.stderr)
    connections = min(arguments.connections, allowed)
    growth = measure(connections)
    bars = [
        Bar("idle after the handshake", growth.handshaken_kib, BAR_KIB, "KiB/connection"),
        Bar("idle after one request", growth.answered_kib, BAR_KIB, "KiB/connection"),
    ]
    facts = machine.facts()
    rows = [(bar.name, f"{growth.connections:,}", f"{bar.figure:.2f}") for bar in bars]
    body = "\n".join([table(("state", "connections", "KiB each"), rows), "", *(f"- {bar}" for bar in bars)])
    data = {**facts, **asdict(growth), "bars": [{**asdict(bar), "reached": bar.reached} for bar in bars]}
    print(json.dumps(data, indent=1) if arguments.json else body)
    if arguments.against:
        other = measure(connections, against.command(arguments.against))
        print(
            f"\nthis tree over the other: {growth.handshaken_kib / other.handshaken_kib:.3f} after the handshake,"
            f" {growth.answered_kib / other.answered_kib:.3f} after one request, {growth.base_kib / other.base_kib:.3f}"
            " without connections"
        )
    if arguments.write:
        command = machine.command("loadtests.idle")
        results.write("idle", results.document("Memory per idle connection", METHOD, facts, command, body), data)
    return 0 if all(bar.reached for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
