"""`modelward serve` as a process of its own: its ports, its workers, what it counts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from loadtests.tools.process import Process, free_ports, started, tree

START_SECONDS = 60.0
LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Server:
    """A supervisor and its workers. config: the file it was started with. grpc, http: ports of 127.0.0.1."""

    process: Process
    config: Path
    grpc: int
    http: int

    def workers(self) -> list[int]:
        return tree(self.process.pid)[1:]

    def page(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=10) as response:
            text: str = response.read().decode()
            return text

    def counted(self, name: str, label: str = "") -> float:
        """The sum of all samples of a metric, or of those with a label."""
        labels = rf"\{{[^}}]*{label}[^}}]*\}}" if label else r"(?:\{[^}]*\})?"
        samples: list[str] = re.findall(rf"^{name}{labels} (\S+)$", self.page("/metrics"), re.M)
        return sum(map(float, samples))

    def wait_until_counted(self, name: str, figure: float, label: str = "", seconds: float = START_SECONDS) -> None:
        """Raises Ended, TimeoutError."""
        for _ in range(round(seconds / LOOK_SECONDS)):
            with suppress(OSError):  # it does not listen yet
                if self.counted(name, label) == figure:
                    return
            self.process.check(LOOK_SECONDS)
        raise TimeoutError(f"{name} was not {figure:g} within {seconds:.0f} s:\n{self.process.tail()}")

    def descriptors(self) -> int:
        """That all its processes have open."""
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in tree(self.process.pid))


@contextmanager
def serving(
    folder: Path, settings: Mapping[str, Any], workers: int = 1, admin: str = "off", log: str = "warning"
) -> Iterator[Server]:
    """Started with these settings, from a file in `folder`, and ready with every worker. Raises Ended, TimeoutError.

    admin: where it listens for the admin API. log: the least severe lines that it writes.
    """
    port, http = free_ports(2)
    config = folder / "config.yaml"
    listen = {"grpc": f"127.0.0.1:{port}", "http": f"127.0.0.1:{http}", "admin": admin}
    config.write_text(yaml.safe_dump({"listen": listen, "workers": workers, **settings}))
    command = [sys.executable, "-m", "modelward", "serve", "--config", str(config), "--log-level", log]
    with started("modelward", command) as process:
        server = Server(process, config, port, http)
        server.wait_until_counted("modelward_workers", workers)
        yield server


def api_key(file: Path, identity: str) -> str:
    """A new key of this identity, whose hash is added to `file`."""
    command = [sys.executable, "-m", "modelward", "token", "add", identity, "--file", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]
