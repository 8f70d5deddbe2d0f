"""General proxies before and behind: what they make of our frames, and we of theirs. One not installed is skipped."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from loadtests.hop import proxies
from loadtests.race.contestant import Absent, Contestant
from loadtests.tools.process import free_ports
from tests.e2e.messages import STREAM_INFER, STREAM_RESPONSE, request
from tests.e2e.test_upstreams import ROW, answer, in_front, infer
from tests.models import add_one
from tests.support import serving, wait_until

TIMEOUT = 10.0
Maker = Callable[[int], Contestant]


@contextlib.contextmanager
def proxy(make: Maker, upstream: str, folder: Path) -> Iterator[str]:
    """The proxy's address once it answers; skips the test where it is not installed."""
    folder.mkdir()
    try:
        start = make(int(upstream.rpartition(":")[2])).prepare(folder)
    except Absent as reason:
        pytest.skip(str(reason))
    port = free_ports(1)[0]
    address = f"127.0.0.1:{port}"
    with start(port) as process:
        with grpc.insecure_channel(address) as channel:
            grpc.channel_ready_future(channel).result(TIMEOUT)
        process.check()
        yield address


def streamed(address: str, count: int) -> list[float]:
    """The first value of each answer to `count` requests of one stream, each one more than the one before."""
    with grpc.insecure_channel(address) as channel:
        call = channel.stream_stream(
            STREAM_INFER,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=STREAM_RESPONSE.FromString,
        )
        requests = (request("add", {"x": ROW + i}) for i in range(count))
        return [answer(response.infer_response)[0] for response in call(requests, timeout=TIMEOUT)]


@pytest.mark.parametrize("make", [proxies.haproxy, proxies.nginx, proxies.envoy], ids=lambda make: make.__name__)
def test_between_a_client_and_us_and_between_us_and_a_server(make: Maker, tmp_path: Path) -> None:
    large = np.zeros((60_000, 4), np.float32)  # a megabyte: more than a window, in many frames
    with (
        serving(tmp_path / "models", {"add": add_one()}) as upstream,
        proxy(make, upstream.grpc, tmp_path / "behind") as behind,
        in_front([behind]) as server,
        proxy(make, server.grpc, tmp_path / "before") as before,
    ):
        assert answer(infer(before)) == [2.0, 3.0, 4.0, 5.0]
        assert streamed(before, 20) == [2.0 + i for i in range(20)]
        with pytest.raises(grpc.RpcError) as refused:
            infer(before, model="unknown")
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        with grpc.insecure_channel(before) as channel:
            call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
            response = call(request("add", {"x": large}).SerializeToString(), timeout=TIMEOUT)
        assert len(response) > large.nbytes
        assert upstream.metric("modelward_requests_total", model="add", code="OK") == 22
        wait_until(lambda: server.application.upstreams[0].inflight == 0, "everything to be given back")
