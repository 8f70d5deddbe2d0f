"""A server to attack, and what an attack does to it: its memory, a bystander, its log, the attacker's connections."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import trustme
from onnx import TensorProto, helper, numpy_helper

from loadtests.attack.attack import ATTACKS
from loadtests.attack.bystander import Bystander, Call, p99
from loadtests.attack.raw import Target
from loadtests.attack.requests import ADD, AMPLIFIER
from loadtests.race.ours import serve
from loadtests.tools.process import Process, free_ports
from tests import models

MiB = 2**20
COLUMNS = MiB // 4  # of an answer
FLOATS = {
    "FP16": TensorProto.FLOAT16, "BF16": TensorProto.BFLOAT16, "FP32": TensorProto.FLOAT, "FP64": TensorProto.DOUBLE,
}  # fmt: skip
SAMPLE_SECONDS = 0.05
QUIET_SECONDS = 5.0
BYSTANDER_TIMES = 2.0
MEMORY_MIB = 64.0
LOG_LINES_A_SECOND = 20.0
ATTACK_SECONDS = 300.0  # none takes longer


def amplifier() -> bytes:
    """x FP32 [batch, 1] -> y FP32 [batch, COLUMNS], the same number over and over."""
    made: bytes = models.model(
        [helper.make_node("Tile", ["x", "repeats"], ["y"])],
        [models.tensor("x", TensorProto.FLOAT, ["batch", 1])],
        [models.tensor("y", TensorProto.FLOAT, ["batch", COLUMNS])],
        [numpy_helper.from_array(np.array([1, COLUMNS], np.int64), "repeats")],
    ).SerializeToString()
    return made


@dataclass
class Arena:
    """A running server with a listener of one kind."""

    process: Process
    port: int
    folder: Path
    authority: Path | None  # of its certificate, where it speaks TLS
    timeouts: Mapping[str, Any]  # seconds
    admin: int  # port

    @property
    def listener(self) -> str:
        return "plain" if self.authority is None else "TLS"

    @property
    def target(self) -> Target:
        return Target("127.0.0.1", self.port, self.authority is not None, admin=self.admin, **self.timeouts)

    def bystander(self) -> Bystander:
        return Bystander(self.port, ADD, self.authority)

    def log_lines(self) -> int:
        return len(self.process.tail(10**9).splitlines())


@contextmanager
def arena(folder: Path, *, tls: bool, timeouts: Mapping[str, float] | None = None) -> Iterator[Arena]:
    """timeouts: of limits.timeouts, in seconds, where the defaults would take too long."""
    timeouts = timeouts or {}
    floats = {kind: models.identity(datatype) for kind, datatype in FLOATS.items()}
    repository = models.repository(folder / "models", {ADD: models.add_one(), AMPLIFIER: amplifier(), **floats})
    settings: dict[str, Any] = {"repository": str(repository)}
    if timeouts:
        settings["limits"] = {"timeouts": {name: f"{round(s * 1000)}ms" for name, s in timeouts.items()}}
    authority: Path | None = None
    if tls:
        issuer = trustme.CA()
        issued = issuer.issue_cert("localhost", "127.0.0.1")
        certificate, key, authority = folder / "server.pem", folder / "server.key", folder / "ca.pem"
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        authority.write_bytes(issuer.cert_pem.bytes())
        settings["tls"] = {"certificate": str(certificate), "key": str(key)}
    port, http, admin = free_ports(3)
    settings["listen"] = {
        name: f"127.0.0.1:{number}" for name, number in (("grpc", port), ("http", http), ("admin", admin))
    }
    with serve(folder / "config.yaml", settings, port) as process:
        running = Arena(process, port, folder, authority, timeouts, admin)
        _await(running)
        yield running


def _await(running: Arena) -> None:
    """Ready, and grown as by any day's work."""
    deadline = time.monotonic() + 60
    while True:
        running.process.check(0.1)
        try:
            running.target.connect_tcp().close()
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
    running.bystander().end()
    for _ in range(3):
        with running.target.connect() as raw:
            raw.greet()
            raw.read(0.1)


@dataclass
class Result:
    """What one attack did. Times in ms."""

    name: str
    listener: str
    grown_mib: float
    errors: int
    calls: int
    quiet_p99_ms: float
    attacked_p99_ms: float
    log_lines: int
    outcome: dict[str, Any]
    first_error: str = ""

    @property
    def slower(self) -> float:
        """The bystander's p99 under attack, in quiet ones."""
        return self.attacked_p99_ms / self.quiet_p99_ms if self.quiet_p99_ms else 0.0

    def failures(self, slowest_ms: float | None = None) -> list[str]:
        """What was promised and not kept. slowest_ms: a p99 that is good enough where no core is free."""
        found = []
        if self.grown_mib > MEMORY_MIB + ATTACKS[self.name].holds_mib:
            found.append(f"memory +{self.grown_mib:.0f} MiB")
        if self.errors:
            found.append(f"{self.errors} bystander errors ({self.first_error})")
        if self.attacked_p99_ms > max(BYSTANDER_TIMES * self.quiet_p99_ms, slowest_ms or 0.0):
            found.append(f"p99 {self.slower:.1f} times")
        if self.outcome["wrong"]:
            found.append(f"answers: {'; '.join(self.outcome['wrong'][:3])}")
        elif not self.outcome["all_ended"]:
            found.append(f"{self.outcome['ended']} of {self.outcome['connections']} ended")
        elif self.outcome["seconds"] > 10:
            found.append(f"ended after {self.outcome['seconds']:.1f} s")
        if self.log_lines > LOG_LINES_A_SECOND * max(self.attack_seconds, 1):
            found.append(f"{self.log_lines} log lines")
        return found

    attack_seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Memory:
    """The largest resident set of the server's process tree while it is entered."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.before = process.resident_bytes()
        self.largest = self.before

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            self.largest = max(self.largest, self._process.resident_bytes())

    @property
    def grown_mib(self) -> float:
        return max(0, self.largest - self.before) / MiB


def run(running: Arena, name: str, *, scale: float = 1.0, quiet: float = QUIET_SECONDS, seconds: float = 0.0) -> Result:
    """One attack in a process of its own, beside the bystander. It repeats for `seconds`, as after every cut-off.

    Raises RuntimeError where the attack itself fails.
    """
    lines = running.log_lines()
    with running.bystander() as bystander:
        time.sleep(quiet)
        with Memory(running.process) as memory:
            outcome = attack(running.target, name, scale, seconds)
        began, ended = outcome["began"], outcome["finished"]
        running.process.check()
    before, during = bystander.between(0, began), bystander.between(began, ended)
    failed: list[Call] = [call for call in during if call.error]
    return Result(
        name,
        running.listener,
        memory.grown_mib,
        len(failed),
        len(during),
        p99(before) * 1e3,
        p99(during) * 1e3,
        running.log_lines() - lines,
        outcome,
        failed[0].error if failed else "",
        ended - began,
    )


def attack(target: Target, name: str, scale: float, seconds: float = 0.0) -> dict[str, Any]:
    command = [sys.executable, "-m", "loadtests.attack", name, "--json", "--scale", str(scale), "--for", str(seconds)]
    command += ["--target", f"{target.host}:{target.port}", "--admin", str(target.admin), "--timeouts"]
    command += [str(s) for s in (target.handshake, target.request, target.stalled)]
    done = subprocess.run(
        [*command, *(["--tls"] if target.tls else [])],
        capture_output=True,
        text=True,
        timeout=ATTACK_SECONDS,
        check=False,
        preexec_fn=lambda: os.nice(19),  # an attacker's own CPU time is another machine's
    )
    if not done.stdout:
        raise RuntimeError(f"{name} failed:\n{done.stderr}")
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


def rows(listener: str) -> list[str]:
    """The attacks that there are for a listener of this kind."""
    return [a.name for a in ATTACKS.values() if not (a.tls_only if listener == "plain" else a.plain_only)]
