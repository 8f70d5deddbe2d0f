"""h2load as the load: it costs a few microseconds per request, so that the server is what is measured."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PATH = "/inference.GRPCInferenceService/ModelInfer"
ABSENT = "h2load is not installed: apt-get install nghttp2-client (Debian, Ubuntu), or the nghttp2 tools of this system"
UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6}


class LoadFailed(RuntimeError):
    """h2load could not do what was asked; its output is in the message."""


@dataclass(frozen=True)
class Shape:
    """How many connections, and how many streams at once on each."""

    connections: int
    streams: int

    @classmethod
    def parse(cls, text: str) -> Shape:
        """From "8x16". Raises ValueError."""
        connections, streams = text.split("x")
        return cls(int(connections), int(streams))

    def __str__(self) -> str:
        return f"{self.connections}x{self.streams}"


@dataclass(frozen=True)
class Load:
    """What the client saw. data_bytes: of all answers; h2load is blind to grpc-status, and an error has no body."""

    succeeded: int
    per_second: float
    mean_latency_us: float
    data_bytes: int
    seconds: float


def installed() -> bool:
    return shutil.which("h2load") is not None


def version() -> str:
    """Such as "h2load nghttp2/1.64.0"."""
    return subprocess.run(["h2load", "--version"], capture_output=True, text=True, check=True).stdout.strip()


def run(
    port: int, body: Path, requests: int, shape: Shape, headers: Sequence[str] = (), *, secure: bool = False
) -> Load:
    """Sends the framed message in `body` so often to 127.0.0.1:port, as fast as it is answered; secure: over TLS.

    Raises LoadFailed unless every one is answered.
    """
    # fewer requests than streams would leave connections without any
    options = ["-n", str(requests), "-c", str(min(shape.connections, requests)), "-m", str(shape.streams)]
    return _run(port, body, requests, [*options, *_headers(headers)], secure=secure)


def latencies(port: int, body: Path, per_second: float, seconds: float, shape: Shape) -> list[int]:
    """Microseconds that each request took, sent at a given rate whatever the answers do; `shape.streams` at most wait
    on a connection. Raises LoadFailed unless every one is answered.
    """
    each = max(1, round(per_second / shape.connections))
    requests = round(each * shape.connections * seconds)
    with tempfile.NamedTemporaryFile(mode="r") as log:
        options = ["-n", str(requests), "-c", str(shape.connections), "-m", str(shape.streams)]
        _run(port, body, requests, [*options, "--rps", str(each), "--log-file", log.name, *_headers()], secure=False)
        return [int(line.split()[2]) for line in log]


def offered(port: int, body: Path, shape: Shape, headers: Sequence[str], *, per_second: float, seconds: float) -> Load:
    """Requests sent at a given rate as far as `shape` lets them wait, whatever becomes of them. Raises LoadFailed."""
    each = max(1, round(per_second / shape.connections))
    options = ["-n", str(round(each * shape.connections * seconds)), "-c", str(shape.connections)]
    options += ["-m", str(shape.streams), "--rps", str(each), *_headers(headers)]
    return parse(_output(port, body, options, secure=False))


def _headers(more: Sequence[str] = ()) -> list[str]:
    return [part for h in ("content-type: application/grpc", "te: trailers", *more) for part in ("-H", h)]


def _run(port: int, body: Path, requests: int, options: Sequence[str], *, secure: bool) -> Load:
    output = _output(port, body, options, secure=secure)
    load = parse(output)
    if load.succeeded != requests:
        raise LoadFailed(f"{load.succeeded} of {requests} requests to port {port} succeeded:\n{output}")
    return load


def _output(port: int, body: Path, options: Sequence[str], *, secure: bool) -> str:
    command = ["h2load", "-d", str(body), *options, f"{'https' if secure else 'http'}://127.0.0.1:{port}{PATH}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LoadFailed(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
    return done.stdout


def parse(output: str) -> Load:
    """Reads h2load's report, of releases before 1.66 (min max mean sd) and since (with percentiles)."""
    succeeded = _found(r"(\d+) 2xx", output)
    per_second = _found(r"([\d.]+) req/s", output)
    data = _found(r"traffic: .*\((\d+)\) data", output)
    columns = _found(r"^[ \t]*(min[ \t].*)$", output).replace("+/- sd", "").split()
    seconds = _microseconds(_found(r"finished in ([^,]+),", output)) / 1e6
    times = _found(r"^time for request: (.*)$", output).split()
    return Load(int(succeeded), float(per_second), _microseconds(times[columns.index("mean")]), int(data), seconds)


def _found(pattern: str, output: str) -> str:
    match = re.search(pattern, output, re.MULTILINE)
    if match is None:
        raise LoadFailed(f"h2load's report has no {pattern!r}:\n{output}")
    return match.group(1)


def _microseconds(text: str) -> float:
    match = re.fullmatch(r"([\d.]+)(us|ms|s)", text)
    if match is None:
        raise LoadFailed(f"not a time of h2load: {text!r}")
    return float(match.group(1)) * UNITS[match.group(2)]
