"""SIGTERM: not ready at once, still serving for a while, then nothing new; and the log says all of it."""

from __future__ import annotations

import re
import signal
import urllib.error
from pathlib import Path

import numpy as np

from modelward.rpc.protocol import HEALTH_SERVICE, message_class
from tests import models
from tests.e2e.messages import Stub, arrays, request
from tests.support import ServerProcess, serve_process, wait_until

ROW = np.ones((1, 4), np.float32)


def answered(server: ServerProcess) -> bool:
    """On a connection of its own."""
    with Stub(server.grpc) as stub:
        return bool((arrays(stub.infer(request("add", {"x": ROW})))["y"] == 2).all())


def drained(output: str) -> str:
    return output if "drained after" in output else ""


def unready(server: ServerProcess) -> bool:
    try:
        return server.page("/readyz") == (503, "not ready\ndraining\n")
    except urllib.error.URLError:
        return False


def test_connections_are_taken_for_the_delay_of_a_drain_and_readiness_is_off(tmp_path: Path) -> None:
    root = models.repository(tmp_path / "models", {"add": models.add_one()})
    with serve_process(root, "--set", "drain={delay: 6s, timeout: 7s}") as server:
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: unready(server), "readiness to be off")
        assert answered(server)
        with Stub(server.grpc) as stub:
            check = stub.channel.unary_unary(
                f"/{HEALTH_SERVICE}/Check",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=message_class("grpc.health.v1.HealthCheckResponse").FromString,
            )
            assert check(message_class("grpc.health.v1.HealthCheckRequest")()).status == 2
        assert answered(server)
        assert server.process.wait(60) == 0
        output = wait_until(lambda: drained("".join(server.output)), "the end of what it says")
        assert "draining: not ready any more; for 6 s new connections are still taken" in output
        assert "7 s to finish" in output
        (seconds,) = re.findall(r"drained after ([0-9.]+)", output)
        assert 6 <= float(seconds) < 13
