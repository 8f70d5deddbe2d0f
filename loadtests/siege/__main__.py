"""`python -m loadtests.siege`: the whole siege of one peer.

Exit code 0 if every criterion is met, 1 if not, 2 if the siege could not be held.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from loadtests.hop import proxies
from loadtests.race.contestant import Absent
from loadtests.siege import criteria, figures, plan, report
from loadtests.siege.figures import Call, Memory, Span
from loadtests.siege.peers import PEERS, Peer
from loadtests.siege.plan import PHASES, Phase
from loadtests.siege.tenants import Keys
from loadtests.tools import client, machine, results
from loadtests.tools.process import Process, free_ports, started

HONEST_USERS = 20
SPAWN_SECONDS = 5
RESPITE_SECONDS = 3  # Locust's own time to end, after the time it was given
WATCH_SECONDS = 0.5
BUILD = Path(__file__).parents[2] / "build" / "siege"
README = Path(__file__).parents[1] / "README.md"

METHOD = """\
Locust (grpcio under gevent) and raw sockets against one proxy in front of one model server, which has 4 slots of 5 ms
(an expensive model: 100 ms) and computes nothing, so its capacity does not depend on what else the machine does. Twenty
honest clients of four tenants send 100 requests a second all the time, each with a second to be answered in; attackers
have the key of one other tenant, or none. Attackers, clients, proxy and model server share the machine's cores."""


class Siege:
    """A peer with the model server behind it, and those who come."""

    def __init__(self, process: Process, port: int, keys: Keys, folder: Path) -> None:
        self.process = process
        self.port = port
        self.keys = keys
        self.memory: list[Memory] = []
        self._folder = folder
        self._environment = {**os.environ, **keys.environment()}
        self._clients = 0

    @property
    def logs(self) -> list[Path]:
        return sorted(self._folder.glob("calls-*"))

    def begin(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        self._clients += 1
        environment = {**self._environment, "SIEGE_LOG": str(self._folder / f"calls-{self._clients}")}
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, env=environment, stdin=quiet, stdout=quiet, stderr=quiet)

    def hold(self, phase: Phase, seconds: int) -> Span:
        """Lets the phase's attackers at it for so long. Raises Ended if the peer falls."""
        begun = time.time()
        end = begun + seconds
        busy = [self.begin(a.command(self.port, max(1, seconds - RESPITE_SECONDS))) for a in phase.attackers]
        try:
            while time.time() < end:
                self.process.check(min(0.2, max(0.0, end - time.time())))
        finally:
            for attacker in busy:
                attacker.terminate()
            for attacker in busy:
                attacker.wait()
        return Span(phase.name, begun, time.time())

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Notes the peer's memory meanwhile."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(WATCH_SECONDS):
                self.memory.append(Memory(time.time(), self.process.resident_bytes()))

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@contextmanager
def besieged(peer: Peer, folder: Path, limited: bool = True) -> Iterator[Siege]:
    """The model server and the peer in front of it, ready. Raises Absent."""
    behind, port = free_ports(2)
    with ExitStack() as stack:
        start, keys = peer.prepare(folder, behind, limited)
        stack.enter_context(started("model server", [sys.executable, "-m", "loadtests.siege.backend", str(behind)]))
        process = stack.enter_context(start(port))
        client.wait_until_answered(port, b"", process)
        yield Siege(process, port, keys, folder)


def hold(
    peer: Peer, folder: Path, total: float, phases: Sequence[Phase], console: Console
) -> tuple[list[Span], list[Call], list[Memory]]:
    """The whole siege, `total` seconds of it; folder: for what the clients write. Raises Absent."""
    lengths = [plan.seconds_of(phase, total, phases) for phase in phases]
    with console.status(f"{peer.name} comes up") as status:
        with besieged(peer, folder) as siege, siege.watched():
            users = (
                "--users",
                str(HONEST_USERS),
                "--spawn-rate",
                str(HONEST_USERS / SPAWN_SECONDS * 2),
                "HonestTenant",
            )
            honest = siege.begin(plan.locust(siege.port, sum(lengths) + 60, users))
            try:
                time.sleep(SPAWN_SECONDS)  # the honest come in
                spans = []
                for i, (phase, seconds) in enumerate(zip(phases, lengths, strict=True)):
                    status.update(f"{peer.name}: {phase.name}, {seconds} s ({i + 1} of {len(phases)})")
                    spans.append(siege.hold(phase, seconds))
            finally:
                honest.terminate()
                honest.wait()
        status.update("reading what the clients wrote")
        return spans, figures.read(siege.logs), siege.memory


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.siege", description=__doc__)
    parser.add_argument("--peer", choices=PEERS, default="modelward", help="who is besieged (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=plan.SECONDS, help="of all phases (default: %(default)s)")
    parser.add_argument(
        "--only",
        action="append",
        choices=[p.name for p in PHASES],
        help="this phase, after the quiet one; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    parser.add_argument("--write", action="store_true", help="replace the files in loadtests/results")
    options = parser.parse_args()
    if options.write and options.only:
        parser.error("--write stores a whole siege; leave out --only")
    return options


def main() -> int:
    options = arguments()
    peer, console = PEERS[options.peer], Console(stderr=True)
    phases = [p for p in PHASES if not options.only or p.name in (plan.QUIET, *options.only)]
    try:
        if options.peer == "envoy":
            proxies.install_envoy()
        with tempfile.TemporaryDirectory(prefix="modelward-siege-") as folder:
            spans, calls, memory = hold(peer, Path(folder), options.seconds, phases, console)
    except Absent as reason:
        print(f"no siege: {reason}", file=sys.stderr)
        return 2
    of_phases = [figures.of_phase(span, calls, memory) for span in spans]
    whole = figures.of_phase(Span("whole", spans[0].begun, spans[-1].ended), calls, memory)
    seconds = figures.per_second(calls, spans[0].begun, spans[-1].ended)
    names = {name: other.name for name, other in PEERS.items() if name != options.peer}
    others = criteria.past(names) if options.peer == "modelward" else []
    judged = criteria.bars(whole, of_phases, others)
    text = "\n".join([
        report.phases_table([*of_phases, whole]), "",
        *([criteria.comparison(whole, of_phases, others), ""] if others else []),
        f"honest p99  {report.sparkline([s.p99 for s in seconds])}",
        f"goodput     {report.sparkline([s.goodput for s in seconds])}",
        f"refused     {report.sparkline([s.refused for s in seconds])}",
        f"memory      {report.sparkline([float(m.resident) for m in memory])}",
        "", *(f"- {line}" for line in criteria.verdict(judged)),
    ])  # fmt: skip
    data = {**machine.facts(), "whole": asdict(whole), "phases": [asdict(f) for f in of_phases]}
    BUILD.mkdir(parents=True, exist_ok=True)
    written = BUILD / f"{options.peer}.html"
    title = f"Siege of {peer.name}"
    light, dark = (report.draw(seconds, memory, spans, others, dark=dark) for dark in (False, True))
    written.write_text(report.page(title, text, light, dark))
    print(json.dumps(data, indent=1) if options.json else text)
    print(f"report with plots: {written.relative_to(Path.cwd())}", file=sys.stderr)
    if options.write:
        _write(options.peer, peer, text, data)
    return 0 if all(bar.reached for bar in judged) else 1


def _write(name: str, peer: Peer, text: str, data: Mapping[str, object]) -> None:
    facts = {**machine.facts(), "besieged": f"{peer.name}: {peer.about}"}
    document = results.document(f"Siege of {peer.name}", METHOD, facts, machine.command("loadtests.siege"), text)
    results.write(f"siege-{name}", document, data)
    if name == "modelward":
        README.write_text(
            report.told(README.read_text(), f"Last held on {facts['date']}, {facts['machine']}:\n\n{text}")
        )


if __name__ == "__main__":
    sys.exit(main())
