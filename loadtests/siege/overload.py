"""`python -m loadtests.siege.overload`: what is still answered when ten times as much is asked as can be.

Exit code 0 if the goodput holds, 1 if not, 2 if nothing could be measured.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from loadtests.race.contestant import Absent
from loadtests.siege.__main__ import besieged
from loadtests.siege.backend import FEATURES, PEAK
from loadtests.siege.peers import PEERS, Peer
from loadtests.tools import client, h2load, machine, results
from loadtests.tools.h2load import Load, Shape
from loadtests.tools.results import Bar, table

TIMES = 10
DEADLINE = "grpc-timeout: 500m"
FITTING, FLOODING = Shape(8, 2), Shape(16, 100)
KEPT = 95.0

METHOD = f"""\
h2load on one proxy in front of one model server of {PEAK:,.0f} answers a second (4 slots of 5 ms). The peak is what
comes back while 16 requests are always under way; then {TIMES} times the model server's capacity is sent at a steady
rate for the same time, each request with half a second to be answered in. Counted is what came with HTTP status 200 and
a body of an answer's size: a refusal has another status, or no body. No limit by rate is set: what is refused, is for
want of capacity."""


@dataclass(frozen=True)
class Goodput:
    """Answers per second."""

    name: str
    peak: float
    overloaded: float

    @property
    def kept(self) -> float:
        """Of the peak, in percent."""
        return 100 * self.overloaded / self.peak


def measure(peer: Peer, seconds: float) -> Goodput:
    """Raises Absent, LoadFailed."""
    message = client.request("light", {"x": np.ones((1, FEATURES), np.float32)}).SerializeToString()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="modelward-overload-")))
        siege = stack.enter_context(besieged(peer, folder, limited=False))
        body = folder / "body"
        body.write_bytes(client.framed(message))
        bearer = f"Bearer {siege.keys.honest[0]}"
        channel = stack.enter_context(client.channel(siege.port))
        size = len(client.framed(client.infer(channel, message, metadata=[("authorization", bearer)])))
        headers = [f"authorization: {bearer}", DEADLINE]
        fitting = h2load.run(siege.port, body, round(PEAK * seconds), FITTING, headers)
        flooded = h2load.offered(siege.port, body, FLOODING, headers, per_second=TIMES * PEAK, seconds=seconds)
    return Goodput(peer.name, _goodput(fitting, size), _goodput(flooded, size))


def _goodput(load: Load, size: int) -> float:
    return min(load.data_bytes / size, load.succeeded) / load.seconds


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.siege.overload", description=__doc__)
    parser.add_argument("--peer", choices=PEERS, action="append", help="who is flooded; may be repeated (modelward)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of either load (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="replace the files in loadtests/results")
    options = parser.parse_args()
    found = []
    with Console(stderr=True).status("") as status:
        for name in options.peer or ["modelward"]:
            status.update(f"{name}: its peak, then {TIMES} times as much")
            try:
                found.append(measure(PEERS[name], options.seconds))
            except (Absent, h2load.LoadFailed) as reason:
                print(f"{name}: {reason}", file=sys.stderr)
                return 2
    rows = [(g.name, f"{g.peak:,.0f}", f"{g.overloaded:,.0f}", f"{g.kept:.1f}") for g in found]
    judged = [Bar(f"{g.name}: goodput kept", g.kept, KEPT, "%", at_most=False) for g in found]
    text = "\n".join([table(("proxy", "peak/s", "overloaded/s", "kept %"), rows), "", *(f"- {bar}" for bar in judged)])
    print(text)
    if options.write:
        title, facts = f"Goodput at {TIMES} times overload", machine.facts()
        document = results.document(title, METHOD, facts, machine.command("loadtests.siege.overload"), text)
        results.write("overload", document, {**facts, "goodput": [asdict(g) for g in found]})
    return 0 if judged[0].reached else 1


if __name__ == "__main__":
    sys.exit(main())
