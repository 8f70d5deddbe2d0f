"""`python -m loadtests.memory`: what a sidecar keeps in memory, idle and after traffic, beside Envoy and HAProxy.

Of Modelward all processes of a server count: as a hop in front of an upstream, and with a small model of its own.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loadtests.hop import proxies
from loadtests.hop.upstream import upstream
from loadtests.race.contestant import Absent, request
from loadtests.race.ours import Start, serve
from loadtests.tools import client, h2load, machine, models, results
from loadtests.tools.process import PROC, Process, free_ports, tree
from loadtests.tools.results import Bar, table
from tests.models import repository

MINUTES = 60.0
SETTLE_SECONDS = 5.0  # after the first answer, until memory counts as idle
PER_SECOND = 200.0
SCRAPE_SECONDS = 15.0
SHAPE = h2load.Shape(connections=8, streams=4)
LOOKS = 6  # at the memory, while there is traffic
HOP, EMBEDDED = "modelward, a hop", "modelward, a model of its own"
BOUNDS = {HOP: 61.0, EMBEDDED: 90.0}  # MiB, idle
GROWTH_MiB = 5.0
KiB, PAGE = 1024, 4096
PRESENT, FRAME = 1 << 63, (1 << 55) - 1  # in /proc/PID/pagemap

METHOD = f"""\
Memory of all processes of a server: their proportional set sizes (PSS), of /proc/PID/smaps_rollup. A page that other
programs of the machine have mapped too, such as the C library's, counts in part. So the second column counts each page
that the processes have mapped once and whole, other programs or not (/proc/PID/pagemap, which root may read). Idle is
{SETTLE_SECONDS:.0f} seconds after the first answer, with no other server beside it. For the traffic all servers run at
once: to each {SHAPE.connections} connections send {PER_SECOND:.0f} ModelInfer of 156 bytes a second. /metrics is
scraped every 15 seconds where there is such a page. They share pages then, so growth is that of the second column."""


@dataclass(frozen=True)
class Memory:
    """MiB of all processes. alone: each page once, None where that may not be read."""

    pss: float
    alone: float | None

    def __str__(self) -> str:
        return f"{self.pss:.1f}" if self.alone is None else f"{self.pss:.1f} ({self.alone:.1f})"


@dataclass(frozen=True)
class Kept:
    """What one server has: idle, alone on the machine, None where that is not asked for; during: from before the
    traffic to its end, beside the others. calls: that were answered."""

    name: str
    idle: Memory | None
    during: tuple[Memory, ...]
    calls: int

    @property
    def growth(self) -> list[float]:
        """At each look after the first, in MiB."""
        first, *later = (each.pss if each.alone is None else each.alone for each in self.during)
        return [each - first for each in later]


def memory_of(pid: int) -> Memory:
    """Of `pid` and its descendants."""
    family = tree(pid)
    kib = 0
    for one in family:
        rollup = (PROC / str(one) / "smaps_rollup").read_text()
        kib += int(re.search(r"^Pss:\s+(\d+) kB$", rollup, re.MULTILINE)[1])  # type: ignore[index]
    return Memory(kib / KiB, _alone(family))


def _alone(family: list[int]) -> float | None:
    frames: set[int] = set()
    for pid in family:
        with open(PROC / str(pid) / "pagemap", "rb", buffering=0) as pages:
            for line in (PROC / str(pid) / "maps").read_text().splitlines():
                start, end = (int(each, 16) for each in line.split()[0].split("-"))
                if end > 1 << 47:  # the kernel's own
                    continue
                pages.seek(start // PAGE * 8)
                entries = memoryview(pages.read((end - start) // PAGE * 8)).cast("Q")
                frames |= {entry & FRAME for entry in entries if entry & PRESENT}
    return None if frames <= {0} else len(frames) * PAGE / KiB / KiB


def measure_idle(start: Start) -> Memory:
    """Starts the server, and ends it."""
    with _ready(start) as (process, _):
        return memory_of(process.pid)


def measure_traffic(starts: dict[str, Start], idle: dict[str, Memory], seconds: float, body: Path) -> list[Kept]:
    """Starts all servers, sends the framed message in `body` to all for so long, and ends them."""
    with ExitStack() as stack:
        ready = {name: stack.enter_context(_ready(start)) for name, start in starts.items()}
        seen = {name: [memory_of(process.pid)] for name, (process, _) in ready.items()}
        with ThreadPoolExecutor(len(ready)) as pool:
            loads = {name: pool.submit(_send, port, body, seconds) for name, (_, port) in ready.items()}
            look, began = seconds / LOOKS, time.monotonic()
            while not wait(loads.values(), min(look, SCRAPE_SECONDS)).done:
                for name, (process, _) in ready.items():
                    process.check()
                    if name in BOUNDS:
                        _scrape(process)
                    if len(seen[name]) * look < time.monotonic() - began:
                        seen[name].append(memory_of(process.pid))
        return [
            Kept(name, idle.get(name), (*seen[name], memory_of(process.pid)), loads[name].result().succeeded)
            for name, (process, _) in ready.items()
        ]


def _send(port: int, body: Path, seconds: float) -> h2load.Load:
    return h2load.offered(port, body, SHAPE, (), per_second=PER_SECOND, seconds=seconds)


@contextmanager
def _ready(start: Start) -> Iterator[tuple[Process, int]]:
    """A server that has answered and settled, and its port."""
    port = free_ports(1)[0]
    with start(port) as process:
        client.wait_until_answered(port, request(), process)
        time.sleep(SETTLE_SECONDS)
        yield process, port


def _scrape(process: Process) -> None:
    """The page of metrics, as Prometheus asks for it; where it is listened for is what the process has said."""
    from urllib.request import urlopen  # noqa: PLC0415 - loopback alone

    if found := re.search(r"(http://127\.0\.0\.1:\d+/metrics)", process.output()):
        with urlopen(found[1], timeout=10) as page:
            page.read()


def main() -> int:
    """0 if all bars are reached."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.memory", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of traffic, to all servers at once")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--growth", action="store_true", help="the growth alone, which other programs do not change")
    parser.add_argument("--write", action="store_true", help="replace loadtests/results/memory.md, or memory-growth.md")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="modelward-memory-")))
        behind = free_ports(1)[0]
        (folder / "upstream").mkdir()
        stack.enter_context(upstream(folder / "upstream", behind))
        starts = dict(_contestants(folder, behind))
        idle = {} if arguments.growth else {name: measure_idle(start) for name, start in starts.items()}
        for name, memory in idle.items():
            print(f"{name}: {memory} MiB", file=sys.stderr)
        (folder / "body").write_bytes(client.framed(request()))
        found = measure_traffic(starts, idle, arguments.minutes * 60, folder / "body")
    bars = _bars(found)
    columns = ("server", "idle, MiB (alone)", "before traffic", "after", "growth at each sixth, MiB", "calls")
    rows = [(k.name, k.idle or "", k.during[0], k.during[-1], _sixths(k), f"{k.calls:,}") for k in found]
    body = "\n".join([table(columns, rows), "", *(f"- {bar}" for bar in bars)])
    data = {"minutes": arguments.minutes, "kept": [asdict(each) for each in found]}
    facts = machine.facts()
    command = machine.command("loadtests.memory")
    print(json.dumps(data) if arguments.json else body)
    if arguments.write:
        title, name = ("Growth of", "memory-growth") if arguments.growth else ("Memory of", "memory")
        text = results.document(f"{title} a sidecar", METHOD, facts, command, body)
        results.write(name, text, {"facts": facts, **data})
    return 0 if all(bar.reached for bar in bars) else 1


def _sixths(kept: Kept) -> str:
    return " ".join(f"{each:+.1f}" for each in kept.growth)


def _contestants(folder: Path, behind: int) -> Iterator[tuple[str, Start]]:
    """Each with its name; those that are not installed are told."""
    root = repository(folder / "models", {models.MLP: models.mlp()})
    yield HOP, _modelward(folder / "hop.yaml", {"models": {models.MLP: {"upstreams": [f"127.0.0.1:{behind}"]}}})
    yield EMBEDDED, _modelward(folder / "embedded.yaml", {"repository": str(root)})
    for contestant in (proxies.envoy(behind), proxies.haproxy(behind)):
        own = folder / contestant.name
        own.mkdir()
        try:
            yield contestant.name, contestant.prepare(own)
        except Absent as reason:
            print(f"{contestant.name}: {reason}", file=sys.stderr)


def _modelward(config: Path, settings: dict[str, Any]) -> Start:
    def start(port: int) -> Any:
        listen = {"grpc": f"127.0.0.1:{port}", "http": "127.0.0.1:0", "admin": "127.0.0.1:0"}
        return serve(config, {"listen": listen, "state": str(config.with_suffix("")), **settings}, port)

    return start


def _bars(found: list[Kept]) -> list[Bar]:
    bars = []
    for kept in found:
        if kept.name not in BOUNDS:
            continue
        if kept.idle is not None:
            bars.append(Bar(f"{kept.name}, idle", kept.idle.pss, BOUNDS[kept.name], "MiB"))
        bars.append(Bar(f"{kept.name}, growth", kept.growth[-1], GROWTH_MiB, "MiB"))
    return bars


if __name__ == "__main__":
    sys.exit(main())
