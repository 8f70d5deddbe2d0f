"""What commands tell of a server that is older than they are, and how they print points in time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from modelward.admin.messages import SERVICE, message
from modelward.cli.admin import FILE_VARIABLES, as_json
from modelward.cli.app import main


@contextmanager
def serving(service: str, status: Any) -> Iterator[str]:
    """The address of a server with one method. status: its answer, or the code that refuses it."""

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        if isinstance(status, grpc.StatusCode):
            context.abort(status, "who are you")
        return bytes(status.SerializeToString())

    server = grpc.server(ThreadPoolExecutor(1))
    method = grpc.unary_unary_rpc_method_handler(answer)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Status": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


OLD = message("StatusResponse", version="0.0.7")


@pytest.mark.parametrize(
    ("status", "runs"), [(OLD, "it runs Modelward 0.0.7"), (grpc.StatusCode.UNAUTHENTICATED, "it runs another version")]
)
def test_an_older_server_is_told_with_its_version(status: Any, runs: str, capfd: pytest.CaptureFixture[str]) -> None:
    with serving(SERVICE, status) as address:
        assert main(["proposals", "--admin", address]) == 1
    told = capfd.readouterr().err
    assert f"the server at {address} has no method Proposals, which this command needs" in told
    assert runs in told
    assert "Upgrade the server" in told


def test_an_older_server_without_a_stream_is_told_too(capfd: pytest.CaptureFixture[str]) -> None:
    with serving(SERVICE, OLD) as address:
        assert main(["restart", "--admin", address]) == 1
    assert "has no method RollingRestart" in capfd.readouterr().err


def test_what_is_no_admin_api_is_told_so(capfd: pytest.CaptureFixture[str]) -> None:
    with serving("inference.GRPCInferenceService", OLD) as address:
        assert main(["proposals", "--admin", address]) == 2
    assert f"{address} is no admin API" in capfd.readouterr().err


@pytest.mark.parametrize("words", [["--ca", "ca.pem"], ["--certificate", "a", "--key", "b"], ["--server-name", "x"]])
def test_a_part_of_mtls_is_wrong_usage(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--admin", "127.0.0.1:1", *words]) == 2
    told = capfd.readouterr().err
    assert "mTLS needs all three of its files" in told or "--server-name is of TLS" in told


@pytest.mark.parametrize("variable", FILE_VARIABLES.values())
def test_a_part_of_mtls_in_the_environment_is_wrong_usage(
    variable: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, "x.pem")
    assert main(["status", "--admin", "127.0.0.1:1"]) == 2
    told = capfd.readouterr().err
    for name, each in FILE_VARIABLES.items():
        assert (f"--{name} (or ${each})" in told) == (each != variable)


def test_every_number_is_printed_as_a_number() -> None:
    model = message("FleetModel", epoch=7, requests=2**53)
    server = as_json(message("FleetServer", lost=1, models=[model]))
    assert (server["lost"], server["more_models"]) == (1, 0)
    assert (server["models"][0]["epoch"], server["models"][0]["requests"]) == (7, 2**53)
    assert as_json(message("Caller", refused={"peer": 3}))["refused"] == {"peer": 3}


def test_points_in_time_are_printed_as_the_trail_has_them() -> None:
    approval = message("Approval", by="ada", at=2.0)
    proposal = message("Proposal", number=1, at=1796000000.25, expires=1.5, approvals=[approval], seconds=7.0)
    found = as_json(message("ProposalsResponse", proposals=[proposal]))["proposals"][0]
    assert (found["at"], found["expires"], found["since"]) == (
        "2026-11-30T00:53:20.250000Z",
        "1970-01-01T00:00:01.500000Z",
        "",
    )
    assert found["approvals"][0]["at"] == "1970-01-01T00:00:02.000000Z"
    assert found["seconds"] == 7.0, "a span stays a number"
    status = message("StatusResponse", events=[message("Event", at=1.0)], uptime_seconds=3.0)
    told = json.loads(json.dumps(as_json(status)))
    assert told["events"][0]["at"] == "1970-01-01T00:00:01.000000Z"
    assert (told["uptime_seconds"], "refused_reload" in told) == (3.0, False)
