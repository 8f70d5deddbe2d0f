"""`python -m loadtests.through`: a gibibyte streamed through to an upstream, and ten thousand calls cancelled."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
import numpy as np

from loadtests.tools import machine, results
from loadtests.tools.results import Bar, table
from modelward.rpc.protocol import message_class
from tests.models import identity, repository, slow_loop
from tests.support import ServerProcess, serve_process, wait_until

INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM_INFER = "/inference.GRPCInferenceService/ModelStreamInfer"
MIB = 2**20
ROWS = 16_000  # of four FP32: 250 KiB a message
CANCELLATIONS = 10_000
AT_ONCE = 100

METHOD = f"""\
Modelward in a process of its own in front of another one. A ModelStreamInfer carries messages of 250 KiB both ways, as
fast as its client takes the answers; what counts is the growth of the resident set of the Modelward in between. Then
calls of a model that takes seconds are cancelled by their client, {AT_ONCE} at a time; every gauge must be 0 then."""


def _message(model: str, rows: int) -> bytes:
    message = message_class("inference.ModelInferRequest")(model_name=model)
    message.inputs.add(name="x", datatype="FP32", shape=[rows, 4])
    message.raw_input_contents.append(np.ones((rows, 4), np.float32).tobytes())
    return bytes(message.SerializeToString())


async def stream(server: ServerProcess, mebibytes: int) -> float:
    """Largest growth of the resident set, in MiB, while so much goes through each way."""
    body = _message("same", ROWS)
    before = server.resident_bytes()
    most = 0
    count = mebibytes * MIB // len(body)

    async def requests() -> AsyncIterator[bytes]:
        for _ in range(count):
            yield body

    async with grpc.aio.insecure_channel(server.grpc) as channel:
        answers = 0
        async for _ in channel.stream_stream(STREAM_INFER)(requests()):
            answers += 1
            if answers % 50 == 0:
                most = max(most, server.resident_bytes() - before)
    if answers != count:
        raise SystemExit(f"{answers} answers to {count} messages")
    return most / MIB


async def cancel(server: ServerProcess, count: int) -> None:
    body = _message("slow", 1)
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        infer = channel.unary_unary(INFER)
        for _ in range(0, count, AT_ONCE):
            calls = [infer(body, timeout=30.0) for _ in range(AT_ONCE)]
            await asyncio.sleep(0.005)  # on their way, some of them at the upstream
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.through", description=__doc__)
    parser.add_argument("--mebibytes", type=int, default=1024)
    parser.add_argument("--cancellations", type=int, default=CANCELLATIONS)
    parser.add_argument("--write", action="store_true", help="replace the file in loadtests/results")
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        root = repository(Path(folder), {"same": identity(), "slow": slow_loop(200_000)})
        with serve_process(root) as upstream, serve_process("--upstream", upstream.grpc) as server:
            asyncio.run(stream(server, 16))  # buffers grow to their size once
            grown = asyncio.run(stream(server, arguments.mebibytes))
            asyncio.run(cancel(server, arguments.cancellations))
            left = _left(server)
    rows = [("streamed through, MiB each way", arguments.mebibytes), ("calls cancelled", arguments.cancellations)]
    figures = table(("what", "count"), rows)
    bars = [
        Bar("largest growth of the resident set while streaming", grown, 64, "MiB"),
        Bar("left behind by cancelled calls", left, 0, "requests"),
    ]
    print(figures, *bars, sep="\n")
    if arguments.write:
        lines = [f"- {name}: {value}" for name, value in machine.facts().items()]
        text = "\n".join(
            ["# Through to an upstream", "", METHOD, "", *lines, "", figures, "", *(f"- {b}" for b in bars)]
        )
        (results.FOLDER / "through.md").write_text(text + "\n")
    return 0 if all(bar.reached for bar in bars) else 1


def _left(server: ServerProcess) -> float:
    """Requests that are still counted somewhere once everything should have ended."""

    def gauges() -> float:
        return server.metric("modelward_inflight") + server.metric("modelward_upstream_inflight")

    try:
        wait_until(lambda: gauges() == 0, "the gauges to return to zero")
    except AssertionError:
        return gauges()
    return 0


if __name__ == "__main__":
    sys.exit(main())
