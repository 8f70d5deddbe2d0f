"""`python -m loadtests.fairness`: one tenant floods a backend, the others send exactly their share."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from loadtests.siege.backend import FEATURES, PEAK, SLOTS
from loadtests.tools import client, h2load, machine, results
from loadtests.tools.h2load import Shape
from loadtests.tools.process import free_ports, started
from loadtests.tools.results import Bar, table
from loadtests.tools.server import Server, api_key, serving

MODEL = "light"
TIMES = 100  # its share, of the tenant who floods
SECONDS = 20.0
EQUAL = {"greta": 1, "anna": 1, "boris": 1}
WEIGHTED = {"greta": 1, "anna": 2, "boris": 4}
FLOODER = "greta"
KEPT_PERCENT = 99.0
DEADLINE = "grpc-timeout: 1S"
FLOOD, HONEST, ALONE = Shape(8, 100), Shape(1, 100), Shape(8, 16)

METHOD = f"""\
Three tenants with API keys before one model server of {SLOTS} slots ({PEAK:,.0f} answers a second, less what its own
work takes), {SLOTS} requests with it at a time, no limit by rate. Its capacity is what one tenant alone gets who always
has 128 requests under way; a tenant's share is the part of its weight. Then one sends {TIMES} times its share and the
two others send theirs at an even rate (h2load), each request with a second to be answered in. Counted is what came back
with HTTP status 200 and a body of an answer's size."""


@dataclass(frozen=True)
class Part:
    """What one tenant sent and got, per second."""

    tenant: str
    weight: int
    share: float
    sent: float
    answered: float

    @property
    def kept(self) -> float:
        """Of what it is due, in percent."""
        return 100 * self.answered / min(self.share, self.sent)


class Arena:
    """The server, and who may call."""

    def __init__(self, server: Server, body: Path, keys: Mapping[str, str], size: int) -> None:
        self.server = server
        self.body = body
        self.keys = keys
        self.size = size  # of an answer, framed

    def capacity(self, seconds: float) -> float:
        """Answers per second to one tenant that is alone."""
        headers = [f"x-api-key: {self.keys[FLOODER]}"]
        return h2load.run(self.server.grpc, self.body, round(PEAK * seconds), ALONE, headers).per_second

    def send(self, tenant: str, per_second: float, seconds: float) -> float:
        """Answers per second."""
        shape = FLOOD if tenant == FLOODER else HONEST
        headers = [f"x-api-key: {self.keys[tenant]}", DEADLINE]
        load = h2load.offered(self.server.grpc, self.body, shape, headers, per_second=per_second, seconds=seconds)
        return min(load.data_bytes / self.size, load.succeeded) / seconds


@contextmanager
def arena(folder: Path, weights: Mapping[str, int]) -> Iterator[Arena]:
    behind, keys_file, body = free_ports(1)[0], folder / "keys", folder / "body"
    keys = {name: api_key(keys_file, name) for name in weights}
    message = client.request(MODEL, {"x": np.ones((1, FEATURES), np.float32)}).SerializeToString()
    body.write_bytes(client.framed(message))
    settings: dict[str, Any] = {
        "access": {"keys": str(keys_file), "rules": [{"identity": "*", "models": ["*"]}]},
        "limits": {"identity": {"overrides": {name: {"weight": weight} for name, weight in weights.items()}}},
        "models": {MODEL: {"upstreams": [f"127.0.0.1:{behind}"], "admission": {"concurrency": SLOTS}}},
    }
    command = [sys.executable, "-m", "loadtests.siege.backend", str(behind)]
    with started("model server", command), serving(folder, settings) as server, client.channel(server.grpc) as channel:
        answer = client.infer(channel, message, metadata=[("x-api-key", keys[FLOODER])])
        yield Arena(server, body, keys, len(client.framed(answer)))


def measure(weights: Mapping[str, int], seconds: float) -> list[Part]:
    """Raises LoadFailed, Ended."""
    with tempfile.TemporaryDirectory(prefix="modelward-fairness-") as folder, arena(Path(folder), weights) as found:
        whole = found.capacity(min(seconds, 5.0)) / sum(weights.values())
        shares = {name: int(weight * whole) for name, weight in weights.items()}
        sent = {name: float(share * (TIMES if name == FLOODER else 1)) for name, share in shares.items()}
        with ThreadPoolExecutor(len(weights)) as threads:
            answered = threads.map(lambda name: found.send(name, sent[name], seconds), weights)
        rows = zip(weights.items(), answered, strict=True)
        return [Part(name, weight, shares[name], sent[name], got) for (name, weight), got in rows]


def main() -> int:
    """0 if those who send their share get it."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.fairness", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of either load (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--write", action="store_true", help="replace the files in loadtests/results")
    arguments = parser.parse_args()
    if not h2load.installed():
        print(f"no tenants: {h2load.ABSENT}", file=sys.stderr)
        return 2
    parts, bars, bodies = [], [], []
    with Console(stderr=True).status("") as status:
        for title, weights in (("equal weights", EQUAL), ("weights 1, 2 and 4", WEIGHTED)):
            status.update(f"three tenants, {title}")
            found = measure(weights, arguments.seconds)
            parts += found
            rows = [
                (p.tenant, p.weight, f"{p.share:,.0f}", f"{p.sent:,.0f}", f"{p.answered:,.1f}", f"{p.kept:.1f}")
                for p in found
            ]
            columns = ("tenant", "weight", "share/s", "sent/s", "answered/s", "of its due %")
            bodies.append(f"With {title}:\n\n{table(columns, rows)}")
            bars += [
                Bar(f"{title}: {p.tenant} gets of its share", p.kept, KEPT_PERCENT, "%", at_most=False)
                for p in found
                if p.tenant != FLOODER
            ]
    body = "\n\n".join([*bodies, "\n".join(f"- {bar}" for bar in bars)])
    facts = machine.facts()
    data = {**facts, "parts": [asdict(p) for p in parts], "bars": {bar.name: bar.figure for bar in bars}}
    print(json.dumps(data, indent=1) if arguments.json else body)
    if arguments.write:
        command = machine.command("loadtests.fairness")
        results.write("fairness", results.document("Shares of a busy backend", METHOD, facts, command, body), data)
    return 0 if all(bar.reached for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
