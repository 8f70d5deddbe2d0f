"""The number that fleets are scaled by rises with what is answered, and not with what is refused."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import trustme

from loadtests.tools import h2load
from loadtests.tools.h2load import Shape
from tests import models
from tests.certificates import write_pair
from tests.e2e.h2client import framed
from tests.e2e.messages import Stub, request
from tests.e2e.raw_upstream import raw_upstream
from tests.support import ServerProcess, serve_process, wait_until

ANSWERED, REFUSED = 150_000, 150_000
HANDSHAKES, PEERS = 400, 20
SHAPE = Shape(8, 16)
CLOSED = "models.closed.limit={rate: 1/h, burst: 1}"


def body(folder: Path, model: str) -> Path:
    file = folder / model
    file.write_bytes(framed(request(model, {"x": np.ones((1, 4), np.float32)}).SerializeToString()))
    return file


@dataclass(frozen=True)
class Shares:
    """used: the highest part; loop: of the loop, for what counts; busy: of the loop, for everything."""

    used: float
    loop: float
    busy: float


def shares(server: ServerProcess) -> Shares:
    """After one more look of the server at itself."""
    before = server.metric("modelward_loop_busy")
    wait_until(lambda: server.metric("modelward_loop_busy") != before, "another look")
    loop = server.metric("modelward_utilization_part", of="loop")
    return Shares(server.metric("modelward_utilization"), loop, server.metric("modelward_loop_busy"))


@pytest.mark.skipif(not h2load.installed(), reason=h2load.ABSENT)
def test_answers_use_the_server_and_a_flood_of_refused_requests_does_not(tmp_path: Path) -> None:
    repository = models.repository(tmp_path / "models", {"open": models.add_one(), "closed": models.add_one()})
    with serve_process(repository, "--set", CLOSED) as server:
        port = int(server.grpc.rpartition(":")[2])
        idle = shares(server)
        h2load.run(port, body(tmp_path, "open"), ANSWERED, SHAPE)
        answered = shares(server)
        h2load.run(port, body(tmp_path, "closed"), REFUSED, SHAPE)
        flooded = shares(server)
        assert server.metric("modelward_refusals_total", model="closed", reason="MODEL_LIMIT") >= REFUSED - 1
    assert answered.used > 1.5 * idle.used
    assert flooded.used < 1.25 * answered.used
    assert flooded.busy > 1.4 * flooded.loop


def test_a_backend_that_has_never_answered_is_in_use_while_requests_wait_for_it(tmp_path: Path) -> None:
    four = "[{name: %s, datatype: FP32, shape: [-1, 4]}]"
    signature = f"{{inputs: {four % 'x'}, outputs: {four % 'y'}}}"
    admission = "{concurrency: 1, queue: 9}"
    with raw_upstream(lambda _: None) as silent:
        model = f"models.silent={{upstreams: ['{silent.address}'], signature: {signature}, admission: {admission}}}"
        with serve_process("--set", model, "--set", f"state={tmp_path / 'state'}") as server, Stub(server.grpc) as stub:
            asked = request("silent", {"x": np.ones((1, 4), np.float32)})
            held = [stub.future(asked, timeout=None) for _ in range(2)]
            wait_until(lambda: server.metric("modelward_utilization_part", of="permits") > 0, "permits to be in use")
            assert server.metric("modelward_concurrency_limit", model="silent") == 1
            assert not any(each.done() for each in held)


def test_handshakes_of_clients_that_ask_for_nothing_do_not_use_the_server(tmp_path: Path) -> None:
    repository = models.repository(tmp_path / "models", {"open": models.add_one()})
    pair = write_pair(trustme.CA().issue_cert("localhost"), tmp_path, "server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    tls = ("--set", f"tls.certificate={pair.certificate}", "--set", f"tls.key={pair.key}")
    with serve_process(repository, *tls) as server:
        host, _, port = server.grpc.rpartition(":")
        idle = shares(server)
        for i in range(HANDSHAKES):
            with (
                socket.create_connection((host, int(port)), source_address=(f"127.0.5.{1 + i % PEERS}", 0)) as plain,
                context.wrap_socket(plain) as secure,
            ):
                secure.recv(1)  # its SETTINGS: the handshake is over
        flooded = shares(server)
    assert flooded.busy > 2 * idle.busy
    assert flooded.loop < flooded.busy / 4
