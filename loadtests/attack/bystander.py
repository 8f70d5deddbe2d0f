"""An honest client: a process with a channel of its own that asks at an even rate and notes how long each answer took.

    python -m loadtests.attack.bystander PORT MODEL [CA_FILE]

No call waits for the one before, and each is timed from when it was due: an answer that is held delays no other call,
and hides none. Prints "ready" once it has been answered, then a line of JSON for each call in the order they were due;
ends when its stdin does.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from loadtests.tools import client

PER_SECOND = 200
WAIT_SECONDS = 10.0
READY = "ready"


@dataclass(frozen=True)
class Call:
    """at: when it was due, on the machine's monotonic clock; seconds: from then on; error: its status, or ""."""

    at: float
    seconds: float
    error: str


def p99(calls: list[Call]) -> float:
    """Seconds; 0 without calls."""
    times = sorted(call.seconds for call in calls)
    return times[min(len(times) - 1, len(times) * 99 // 100)] if times else 0.0


class Bystander:
    """The process, and what it has seen so far. A context manager."""

    def __init__(self, port: int, model: str, authority: Path | None = None) -> None:
        command = [sys.executable, "-m", "loadtests.attack.bystander", str(port), model]
        self._popen = subprocess.Popen(
            [*command, *([str(authority)] if authority else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._popen.stdout is not None
        if self._popen.stdout.readline().strip() != READY:
            self._popen.wait()
            raise RuntimeError("the bystander was not answered; its error is above")
        self.calls: list[Call] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            self.calls.append(Call(*json.loads(line)))

    def between(self, began: float, ended: float) -> list[Call]:
        """The calls that were due in that time, on the machine's monotonic clock."""
        return [call for call in list(self.calls) if began <= call.at <= ended]

    def __enter__(self) -> Bystander:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Everything that it has seen is in `calls` afterwards."""
        assert self._popen.stdin is not None and self._popen.stdout is not None
        self._popen.stdin.close()
        try:
            self._popen.wait(2 * WAIT_SECONDS)
        finally:
            self._popen.kill()
            self._reader.join()
            self._popen.stdout.close()


def _channel(port: int, authority: str | None) -> Any:
    if authority is None:
        return grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=client.OPTIONS)
    trusted = grpc.ssl_channel_credentials(Path(authority).read_bytes())
    return grpc.aio.secure_channel(f"127.0.0.1:{port}", trusted, options=client.OPTIONS)


async def _timed(infer: Any, body: bytes, due: float) -> Call:
    error = ""
    try:
        await infer(body, timeout=WAIT_SECONDS)
    except grpc.aio.AioRpcError as failed:
        error = f"{failed.code().name}: {failed.details()}"
    return Call(due, time.monotonic() - due, error)


def _tell(call: Call) -> None:
    print(json.dumps([call.at, call.seconds, call.error]), flush=True)


async def main(port: int, model: str, authority: str | None = None) -> None:
    body = client.request(model, {"x": np.ones((1, 4), np.float32)}).SerializeToString()
    async with _channel(port, authority) as channel:
        infer = channel.unary_unary(client.INFER)
        await infer(body, timeout=WAIT_SECONDS, wait_for_ready=True)
        print(READY, flush=True)
        over = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        due, asked = time.monotonic(), deque[asyncio.Task[Call]]()  # no more than are due in WAIT_SECONDS
        while not over.done():
            asked.append(asyncio.create_task(_timed(infer, body, due)))
            due += 1 / PER_SECOND
            while asked and asked[0].done():
                _tell(asked.popleft().result())
            await asyncio.sleep(max(due - time.monotonic(), 0))
        for call in asked:
            _tell(await call)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), *sys.argv[2:]))
