"""`python -m loadtests.hedge`: what hedging buys where one answer of twenty takes a hundred times longer."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import grpc
import numpy as np

from loadtests.tools import machine, results
from loadtests.tools.results import Bar, table
from modelward.config.load import load
from modelward.rpc.protocol import message_class
from modelward.server.embedded import in_thread

INFER = "/inference.GRPCInferenceService/ModelInfer"
UPSTREAMS = 3
USUAL_SECONDS = 0.002
SLOW_TIMES = 100
SLOW_SHARE = 0.05
AT_ONCE = 8
REQUESTS = 4000
SIGNATURE = (
    "{inputs: [{name: x, datatype: FP32, shape: [-1, 4]}], outputs: [{name: y, datatype: FP32, shape: [-1, 4]}]}"
)

METHOD = f"""\
{UPSTREAMS} grpc.aio servers answer after {USUAL_SECONDS * 1000:g} ms, and {SLOW_SHARE:.0%} of their answers
after {SLOW_TIMES} times that, at random. A grpc.aio client keeps {AT_ONCE} requests under way through Modelward;
times are the client's. Load is what the upstreams were asked, cancelled requests included, per client request."""


@dataclass(frozen=True)
class Outcome:
    """p50_ms, p99_ms: of the client's requests. load: requests that the upstreams saw, per request."""

    p50_ms: float
    p99_ms: float
    load: float


class Upstream(grpc.GenericRpcHandler):
    """Echoes x as y, now and then slowly."""

    def __init__(self, seed: int) -> None:
        self.asked = 0
        self._random = random.Random(seed)
        self._request = message_class("inference.ModelInferRequest")
        self._response = message_class("inference.ModelInferResponse")

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        return grpc.unary_unary_rpc_method_handler(self._infer) if details.method == INFER else None

    async def _infer(self, message: bytes, context: object) -> bytes:
        self.asked += 1
        await asyncio.sleep(USUAL_SECONDS * (SLOW_TIMES if self._random.random() < SLOW_SHARE else 1))
        request = self._request.FromString(message)
        response = self._response(model_name=request.model_name, id=request.id)
        response.outputs.add(name="y", datatype="FP32", shape=request.inputs[0].shape)
        response.raw_output_contents.append(request.raw_input_contents[0])
        return bytes(response.SerializeToString())


@asynccontextmanager
async def upstream(seed: int) -> AsyncIterator[tuple[Upstream, int]]:
    handler = Upstream(seed)
    server = grpc.aio.server(handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield handler, port
    finally:
        await server.stop(None)


async def measure(requests: int, hedging: str) -> Outcome:
    """One run; hedging: its configuration, or "" for none."""
    async with AsyncExitStack() as stack:
        upstreams = [await stack.enter_async_context(upstream(seed)) for seed in range(UPSTREAMS)]
        listed = ", ".join(f"127.0.0.1:{port}" for _, port in upstreams)
        sets = ["listen.grpc=127.0.0.1:0", "listen.http=127.0.0.1:0", f"models.echo.upstreams=[{listed}]"]
        sets += [f"models.echo.signature={SIGNATURE}", *([f"models.echo.hedging={hedging}"] if hedging else [])]
        config = load(sets=sets, environ={})
        # the server has a loop and a thread of its own; this loop is the upstreams' and the client's
        context = in_thread(config)
        application = await asyncio.to_thread(context.__enter__)
        try:
            times = await _ask(str(application.grpc_address), requests)
        finally:
            await asyncio.to_thread(context.__exit__, None, None, None)
        asked = sum(handler.asked for handler, _ in upstreams)
    ordered = np.array(times[len(times) // 10 :]) * 1000  # the first tenth is what the estimates are learnt from
    return Outcome(float(np.percentile(ordered, 50)), float(np.percentile(ordered, 99)), asked / requests)


async def _ask(address: str, requests: int) -> list[float]:
    message = message_class("inference.ModelInferRequest")(model_name="echo")
    message.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    message.raw_input_contents.append(np.ones(4, np.float32).tobytes())
    body = message.SerializeToString()
    times: list[float] = []
    left = iter(range(requests))
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary(INFER)

        async def client() -> None:
            for _ in left:
                started = time.perf_counter()
                await call(body, timeout=10.0)
                times.append(time.perf_counter() - started)

        await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    return times


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.hedge", description=__doc__)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--write", action="store_true", help="replace the files in loadtests/results")
    arguments = parser.parse_args()
    plain = asyncio.run(measure(arguments.requests, ""))
    hedged = asyncio.run(measure(arguments.requests, "{budget: 0.06}"))
    rows = [
        (n, f"{o.p50_ms:.1f}", f"{o.p99_ms:.1f}", f"{o.load:.3f}") for n, o in (("plain", plain), ("hedged", hedged))
    ]
    figures = table(("requests", "p50 ms", "p99 ms", "load"), rows)
    bars = [
        Bar("p99 hedged, of the unhedged", hedged.p99_ms / plain.p99_ms, 0.25, "times"),
        Bar("upstream load hedged, of the unhedged", hedged.load / plain.load, 1.07, "times"),
    ]
    print(figures, *bars, sep="\n")
    if arguments.write:
        lines = [f"- {name}: {value}" for name, value in machine.facts().items()]
        text = "\n".join(["# Hedging", "", METHOD, "", *lines, "", figures, "", *(f"- {bar}" for bar in bars), ""])
        (results.FOLDER / "hedge.md").write_text(text)
    return 0 if all(bar.reached for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
