"""`python -m loadtests.image`: the image's root, read-only and without rights: when it is ready, what a drain loses."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import yaml

from loadtests.tools import client, machine, models, results, roots
from loadtests.tools.process import Process, cpu_ns, free_ports, started, tree, waited_ns
from loadtests.tools.results import Bar, table
from loadtests.tools.roots import Missing
from tests.models import repository

FOLDER = Path(__file__).parents[1] / "build" / "image" / "root"
PYTHON, PROGRAM = "/opt/modelward/bin/python", "/opt/modelward/bin/modelward"
STARTS, READY_SECONDS = 9, 1.5
REQUESTS, CLIENTS = 10_000, 16
DELAY_SECONDS, TIMEOUT_SECONDS, GRACE_SECONDS = 2.0, 5.0, 12.0
LOOK_SECONDS = 0.005
PACKAGES = ("python3.13-minimal", "libc6", *machine.PACKAGES)
FIRST = ("chrt", "--rr", "1")
# As gRPC ships it, without a retry policy: it sends again only what it knows that no server has begun.
OPTIONS = [("grpc.use_local_subchannel_pool", 1), ("grpc.lb_policy_name", "round_robin")]

METHOD = f"""\
The root that `make image-root` makes is started with bubblewrap: as user {roots.USER}, as process 1 of its own, on a
root that cannot be written; only the state folder and `/tmp` can. One small model. Ready is the first 200 of `/readyz`
after the command was started. With `--realtime` other work on the machine gives way to the starts, not to the drain.

For the drain two of them stand behind a client that balances between both over {CLIENTS} connections. It is as gRPC
ships it, without a retry policy: it sends again only what it knows that no server has begun. After a third of the
{REQUESTS:,} requests the first server gets SIGTERM, with `drain: {{delay: {DELAY_SECONDS:g} s,
timeout: {TIMEOUT_SECONDS:g} s}}`; it has {GRACE_SECONDS:g} s to end, as Kubernetes would give it."""

LOOK = """
import errno, os, pathlib
assert os.getuid() == 65532 and os.getpid() == 1, (os.getuid(), os.getpid())
for place in ("/", "/opt/modelward", "/usr/lib", "/etc/modelward", "/models"):
    try:
        pathlib.Path(place, "written").touch()
    except OSError as error:
        assert error.errno == errno.EROFS, error
    else:
        raise AssertionError(f"{place} can be written")
pathlib.Path("/var/lib/modelward/written").touch()
assert os.listdir("/usr/bin") == ["python3.13"], os.listdir("/usr/bin")
assert os.listdir("/usr/sbin") == [], os.listdir("/usr/sbin")
"""


@dataclass(frozen=True)
class Container:
    """A server in the root. grpc, http: ports of 127.0.0.1. began: of the monotonic clock, in seconds."""

    process: Process
    grpc: int
    http: int
    began: float

    @property
    def supervisor(self) -> int:
        """Process 1 inside."""
        return tree(self.process.pid)[1]

    def page(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=5) as response:
            return str(response.read().decode())

    def ready(self) -> float:
        """The seconds until it was. Raises Ended, TimeoutError."""
        while time.monotonic() < self.began + 60:
            with suppress(OSError):
                self.page("/readyz")
                return time.monotonic() - self.began
            self.process.check(LOOK_SECONDS)
        raise TimeoutError(f"not ready within a minute:\n{self.process.tail()}")

    def answered(self) -> float:
        lines = self.page("/metrics").splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("modelward_requests_total{"))


@contextmanager
def container(root: Path, before: Sequence[str] = ()) -> Iterator[Container]:
    """A server in the root, with folders of its own. before: a command that starts it. Raises Missing."""
    port, http = free_ports(2)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        folder.chmod(0o755)
        served = repository(folder / "models", {models.MLP: models.mlp()})
        (folder / "configuration").mkdir()
        (folder / "state").mkdir()
        roots.give(folder / "state")
        settings = {
            "repository": "/models",
            "listen": {"grpc": f"127.0.0.1:{port}", "http": f"127.0.0.1:{http}", "admin": "off"},
            "drain": {"delay": f"{DELAY_SECONDS:g}s", "timeout": f"{TIMEOUT_SECONDS:g}s"},
        }
        (folder / "configuration" / "modelward.yaml").write_text(yaml.safe_dump(settings))
        command = inside(root, folder, [PROGRAM, "serve", "--config", "/etc/modelward/modelward.yaml"], served)
        began = time.monotonic()
        with started("modelward", [*before, *command]) as process:
            yield Container(process, port, http, began)


def inside(root: Path, folder: Path, program: list[str], served: Path) -> list[str]:
    return roots.command(
        root,
        program,
        reads={served: "/models", folder / "configuration": "/etc/modelward"},
        writes={folder / "state": "/var/lib/modelward"},
        environment={"PATH": "/opt/modelward/bin", "STATE_DIRECTORY": "/var/lib/modelward", "LANG": "C.UTF-8"},
        network=True,
    )


def looked(root: Path) -> None:
    """AssertionError where a user without rights can write what it must not, or finds a shell."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        folder.chmod(0o755)
        for name in ("models", "configuration", "state"):
            (folder / name).mkdir()
        roots.give(folder / "state")
        command = inside(root, folder, [PYTHON, "-I", "-c", LOOK], folder / "models")
        ran = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr


def starts(root: Path, times: int, before: Sequence[str]) -> list[tuple[float, float, float]]:
    """Of each start: seconds until ready, seconds of CPU until then, and seconds in which it waited for a core."""
    found = []
    for _ in range(times):
        with container(root, before) as one:
            seconds = one.ready()
            family = tree(one.process.pid)
            found.append((seconds, cpu_ns(one.process.pid) / 1e9, sum(map(waited_ns, family)) / 1e9))
    return found


async def drained(root: Path, requests: int) -> tuple[Counter[str], float, float, int]:
    """What clients saw, the seconds until the first server had ended, what it answered meanwhile, and its exit code."""
    with container(root) as first, container(root) as second:
        first.ready()
        second.ready()
        target = f"ipv4:127.0.0.1:{first.grpc},127.0.0.1:{second.grpc}"
        body = bytes(client.request(models.MLP, {"X": models.ordinary_row()}).SerializeToString())
        outcome: Counter[str] = Counter()
        sent = 0

        async def ask() -> None:
            nonlocal sent
            async with grpc.aio.insecure_channel(target, options=OPTIONS) as channel:
                call = channel.unary_unary(client.INFER)
                while sent < requests:
                    sent += 1
                    try:
                        await call(body, timeout=10.0)
                    except grpc.aio.AioRpcError as error:
                        outcome[f"{error.code().name}: {error.details()}"] += 1
                    else:
                        outcome["answered"] += 1

        async def end() -> tuple[float, float, int]:
            while outcome.total() < requests // 3:
                await asyncio.sleep(LOOK_SECONDS)
            before = await asyncio.to_thread(first.answered)
            handle = os.pidfd_open(first.supervisor)
            began = time.monotonic()
            signal.pidfd_send_signal(handle, signal.SIGTERM)
            await asyncio.sleep(DELAY_SECONDS / 2)  # it still takes new connections, and is not ready any more
            after = await asyncio.to_thread(first.answered)
            code = await asyncio.to_thread(first.process.wait, GRACE_SECONDS)
            os.close(handle)
            return time.monotonic() - began, after - before, code

        asked = [asyncio.create_task(ask()) for _ in range(CLIENTS)]
        seconds, meanwhile, code = await end()
        await asyncio.gather(*asked)
    return outcome, seconds, meanwhile, code


def main() -> int:
    """0 if every bar is reached, 77 where the root cannot be had here."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.image", description=__doc__)
    parser.add_argument(
        "--root",
        type=lambda path: Path(path).resolve(),
        default=FOLDER,
        help="of the image (default: build/image/root)",
    )
    parser.add_argument("--starts", type=int, default=STARTS, help="how many (default: %(default)s)")
    parser.add_argument("--requests", type=int, default=REQUESTS, help="in the drain (default: %(default)s)")
    parser.add_argument("--realtime", action="store_true", help="starts go before other work of this machine (as root)")
    parser.add_argument("--write", action="store_true", help="replace the files in loadtests/results")
    arguments = parser.parse_args()
    if not arguments.root.is_dir():
        print("there is no root of the image: make image-root")
        return 77
    try:
        looked(arguments.root)
        found = starts(arguments.root, arguments.starts, FIRST if arguments.realtime else ())
        outcome, seconds, meanwhile, code = asyncio.run(drained(arguments.root, arguments.requests))
    except Missing as error:
        print(error)
        return 77
    ready, cpu, waited = zip(*found, strict=True)
    failed = outcome.total() - outcome["answered"]
    rows: list[tuple[str, Any]] = [
        ("size of the root", f"{size(arguments.root) / 1e6:.0f} MB"),
        ("starts", len(found)),
        ("ready after, median", f"{statistics.median(ready):.2f} s"),
        ("ready after, slowest", f"{max(ready):.2f} s"),
        ("CPU until then, median", f"{statistics.median(cpu):.2f} s"),
        ("waited for a core until then, median", f"{statistics.median(waited):.2f} s"),
        ("requests in the drain", outcome.total()),
        ("of these failed", failed),
        ("answered by the server that drained, in half its delay", f"{meanwhile:.0f}"),
        ("ended after", f"{seconds:.2f} s, with code {code}"),
    ]
    bars = [
        Bar("ready, slowest start", max(ready), READY_SECONDS, "s"),
        Bar("requests that failed", failed, 0, ""),
        Bar("ended after SIGTERM", seconds, GRACE_SECONDS, "s"),
        Bar("answered while draining", meanwhile, 1, "", at_most=False),
        Bar("exit code", code, 0, ""),
    ]
    told = [f"- {count} failed: {what}" for what, count in outcome.items() if what != "answered"]
    body = "\n\n".join([table(("what", "figure"), rows), "\n".join([*told, *(f"- {bar}" for bar in bars)])])
    print(body)
    if arguments.write:
        facts = {**machine.facts(), "in the image": contents(arguments.root)}
        command = machine.command("loadtests.image")
        data = {**facts, "bars": {bar.name: bar.figure for bar in bars}}
        results.write("image", results.document("The root of the image", METHOD, facts, command, body), data)
    return 0 if all(bar.reached for bar in bars) else 1


def contents(root: Path) -> str:
    """What matters of its list of packages, with versions."""
    parts = json.loads((root / "usr/share/sbom/modelward.cdx.json").read_text())["components"]
    versions = {part["name"]: part.get("version", "") for part in parts}
    return ", ".join(f"{name} {versions[name]}" for name in PACKAGES)


def size(root: Path) -> int:
    """In bytes, of all its files."""
    return sum(each.lstat().st_size for each in root.rglob("*") if each.is_file() and not each.is_symlink())


if __name__ == "__main__":
    sys.exit(main())
