"""Upstreams over TLS: other Modelwards with certificates, and servers that do not deserve trust."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import trustme

from modelward.cli.app import main
from modelward.config.load import load
from modelward.problem import ProblemsFound
from modelward.server.embedded import in_thread
from tests.certificates import Pair, authority_file, write_pair
from tests.e2e.messages import RESPONSE, request
from tests.models import add_one
from tests.support import ANYWHERE, EmbeddedServer, serving, wait_until

INFER = "/inference.GRPCInferenceService/ModelInfer"
ROW = np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)
TIMEOUT = 10.0
SIGNATURE = (
    "{inputs: [{name: x, datatype: FP32, shape: [-1, 4]}], outputs: [{name: y, datatype: FP32, shape: [-1, 4]}]}"
)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca(authority: trustme.CA, tmp_path: Path) -> Path:
    return authority_file(authority, tmp_path / "ca.pem")


@contextlib.contextmanager
def upstream(root: Path, pair: Pair, **settings: Any) -> Iterator[EmbeddedServer]:
    tls = {"tls__certificate": pair.certificate, "tls__key": pair.key}
    with serving(root / "upstream", {"add": add_one()}, **(tls | settings)) as server:
        yield server


@contextlib.contextmanager
def in_front(settings: dict[str, object]) -> Iterator[EmbeddedServer]:
    sets = [f"{key}={value}" for key, value in (ANYWHERE | settings).items()]
    with in_thread(load(sets=sets, environ={})) as application:
        yield EmbeddedServer(str(application.grpc_address), str(application.http_address), application)


def model(address: str, **tls: object) -> dict[str, object]:
    """The model "add" of an upstream, whose signature is declared, so that only requests need the upstream."""
    flow = ", ".join(f"{key}: {value}" for key, value in tls.items())
    return {
        "models.add.upstreams": f"['{address}']",
        "models.add.upstream_tls": f"{{{flow}}}",
        "models.add.signature": SIGNATURE,
    }


def infer(address: str) -> list[float]:
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(
            INFER,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=RESPONSE.FromString,
        )
        response = call(request("add", {"x": ROW}), timeout=TIMEOUT)
        return list(np.frombuffer(response.raw_output_contents[0], np.float32).tolist())


def says_that_tls_fails(server: EmbeddedServer, error: grpc.RpcError) -> None:
    """To the client without a detail, and to the operator in a figure."""
    assert error.details() == "no upstream server of this model can be reached: TLS with it fails"
    assert server.metric("modelward_upstream_connect_failures_total") > 0


def test_models_of_an_upstream_are_listed_described_and_served_over_tls(
    tmp_path: Path, authority: trustme.CA, ca: Path
) -> None:
    pair = write_pair(authority.issue_cert("127.0.0.1"), tmp_path, "server")
    with (
        upstream(tmp_path, pair) as behind,
        in_front({"upstreams": f"['{behind.grpc}']", "upstream_tls.ca": ca}) as server,
    ):
        assert infer(server.grpc) == [2.0, 3.0, 4.0, 5.0]
        assert behind.metric("modelward_requests_total", model="add", code="OK") == 1


def test_an_upstream_that_requires_a_certificate_is_shown_ours(tmp_path: Path, authority: trustme.CA, ca: Path) -> None:
    pair = write_pair(authority.issue_cert("127.0.0.1"), tmp_path, "server")
    ours = write_pair(authority.issue_cert("modelward.test"), tmp_path, "ours")
    shown = {"upstream_tls.certificate": ours.certificate, "upstream_tls.key": ours.key}
    with (
        upstream(tmp_path, pair, tls__client_ca=ca, tls__require_client_certificate="true") as behind,
        in_front({"upstreams": f"['{behind.grpc}']", "upstream_tls.ca": ca, **shown}) as server,
    ):
        assert infer(server.grpc) == [2.0, 3.0, 4.0, 5.0]


def test_an_upstream_that_requires_a_certificate_and_sees_none_gets_no_request(
    tmp_path: Path, authority: trustme.CA, ca: Path
) -> None:
    pair = write_pair(authority.issue_cert("127.0.0.1"), tmp_path, "server")
    with (
        upstream(tmp_path, pair, tls__client_ca=ca, tls__require_client_certificate="true") as behind,
        in_front(model(behind.grpc, ca=ca)) as server,
    ):
        with pytest.raises(grpc.RpcError) as refused:
            infer(server.grpc)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        says_that_tls_fails(server, refused.value)
        assert behind.metric("modelward_requests_total", model="add") == 0


def test_a_certificate_of_another_authority_is_not_trusted(tmp_path: Path, ca: Path) -> None:
    pair = write_pair(trustme.CA().issue_cert("127.0.0.1"), tmp_path, "server")
    with upstream(tmp_path, pair) as behind, in_front(model(behind.grpc, ca=ca)) as server:
        with pytest.raises(grpc.RpcError) as refused:
            infer(server.grpc)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        says_that_tls_fails(server, refused.value)
        assert not server.application.upstreams[0].connected


def test_a_certificate_for_another_name_is_not_trusted_until_that_name_is_configured(
    tmp_path: Path, authority: trustme.CA, ca: Path
) -> None:
    pair = write_pair(authority.issue_cert("models.test"), tmp_path, "server")
    with upstream(tmp_path, pair) as behind:
        with in_front(model(behind.grpc, ca=ca)) as server:
            with pytest.raises(grpc.RpcError) as refused:
                infer(server.grpc)
            says_that_tls_fails(server, refused.value)
        named = {"upstreams": f"['{behind.grpc}']", "upstream_tls": f"{{ca: {ca}, server_name: models.test}}"}
        with in_front(named) as server:
            assert infer(server.grpc) == [2.0, 3.0, 4.0, 5.0]


def test_an_upstream_is_known_by_the_name_it_is_configured_by_and_not_by_its_address(
    tmp_path: Path, authority: trustme.CA, ca: Path
) -> None:
    pair = write_pair(authority.issue_cert("localhost"), tmp_path, "server")
    with upstream(tmp_path, pair) as behind:
        port = behind.grpc.rpartition(":")[2]
        with in_front(model(f"localhost:{port}", ca=ca)) as server:
            assert infer(server.grpc) == [2.0, 3.0, 4.0, 5.0]
        with in_front(model(f"127.0.0.1:{port}", ca=ca)) as server, pytest.raises(grpc.RpcError):
            infer(server.grpc)


def test_an_upstream_without_http2_gets_no_request(tmp_path: Path, authority: trustme.CA, ca: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    attempts: list[socket.socket] = []
    received: list[bytes] = []

    def accept(listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                attempts.append(connection)
                with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
                    received.append(secured.recv(1))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=accept, args=(listening,), daemon=True)
        thread.start()
        with in_front(model(f"127.0.0.1:{listening.getsockname()[1]}", ca=ca)) as server:
            wait_until(lambda: len(attempts) > 1, "a second attempt")
            with pytest.raises(grpc.RpcError):
                infer(server.grpc)
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(TIMEOUT)
    assert set(received) <= {b""}


def test_a_plain_upstream_is_not_spoken_to_where_tls_is_configured(tmp_path: Path, ca: Path) -> None:
    with serving(tmp_path / "upstream", {"add": add_one()}) as behind:
        with in_front(model(behind.grpc, ca=ca)) as server, pytest.raises(grpc.RpcError):
            infer(server.grpc)
        assert behind.metric("modelward_requests_total", model="add") == 0


def test_requests_over_tls_say_https(tmp_path: Path, authority: trustme.CA, ca: Path) -> None:
    """grpcio answers RST_STREAM to a scheme that is not its transport's, and is a server of its own kind."""

    class Add(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            return grpc.unary_unary_rpc_method_handler(lambda message, context: answer)

    answer = RESPONSE(model_name="add", model_version="1")
    output = answer.outputs.add(name="y", datatype="FP32", shape=[1, 4])
    assert output.name == "y"
    answer.raw_output_contents.append((ROW + 1).tobytes())
    answer = answer.SerializeToString()
    issued = authority.issue_cert("127.0.0.1")
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    other = grpc.server(ThreadPoolExecutor(2), handlers=[Add()])
    port = other.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(issued.private_key_pem.bytes(), chain)]))
    other.start()
    try:
        with in_front(model(f"127.0.0.1:{port}", ca=ca)) as server:
            assert infer(server.grpc) == [2.0, 3.0, 4.0, 5.0]
    finally:
        other.stop(None).wait()


def test_a_renewed_certificate_of_ours_is_shown_on_the_next_connection(
    tmp_path: Path, authority: trustme.CA, ca: Path
) -> None:
    """At first ours is of an authority that the upstream does not know."""
    pair = write_pair(authority.issue_cert("127.0.0.1"), tmp_path, "server")
    ours = write_pair(trustme.CA().issue_cert("modelward.test"), tmp_path, "ours")
    with (
        upstream(tmp_path, pair, tls__client_ca=ca, tls__require_client_certificate="true") as behind,
        in_front(model(behind.grpc, ca=ca, certificate=ours.certificate, key=ours.key)) as server,
    ):
        with pytest.raises(grpc.RpcError):
            infer(server.grpc)
        write_pair(authority.issue_cert("modelward.test"), tmp_path, "ours")
        wait_until(lambda: behind.metric("modelward_connections") == 1, "a connection that stays")
        wait_until(lambda: server.application.upstreams[0].connected, "the endpoint")
        assert infer(server.grpc) == [2.0, 3.0, 4.0, 5.0]


def test_check_and_serve_find_what_is_wrong_with_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = model("127.0.0.1:9", ca=tmp_path / "missing.pem")
    assert main(["check", *(f"--set={key}={value}" for key, value in settings.items())]) == 1
    assert "upstream_tls.ca cannot be read" in capsys.readouterr().err
    with pytest.raises(ProblemsFound, match=r"upstream_tls\.ca cannot be read"), in_front(settings):
        pass


def _checked(settings: dict[str, object], capsys: pytest.CaptureFixture[str]) -> str:
    """What `check` says is wrong."""
    assert main(["check", *(f"--set={key}={value}" for key, value in settings.items())]) == 1
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("declared", [True, False])
def test_check_names_the_cause_where_tls_with_an_upstream_fails(
    tmp_path: Path, authority: trustme.CA, ca: Path, capsys: pytest.CaptureFixture[str], declared: bool
) -> None:
    foreign = authority_file(trustme.CA(), tmp_path / "foreign.pem")
    pair = write_pair(authority.issue_cert("127.0.0.1"), tmp_path, "server")

    def settings(address: str, **tls: object) -> dict[str, object]:
        found = model(address, **tls) | {"state": tmp_path / "state"}
        return found if declared else {k: v for k, v in found.items() if not k.endswith("signature")}

    with upstream(tmp_path, pair) as behind:
        text = _checked(settings(behind.grpc, ca=foreign), capsys)
        assert "TLS with the upstream fails" in text and "certificate verify failed" in text
        text = _checked(settings(behind.grpc, ca=ca, server_name="other.test"), capsys)
        assert "TLS with the upstream fails" in text and "other.test" in text
    with upstream(tmp_path, pair, tls__client_ca=ca, tls__require_client_certificate="true") as behind:
        text = _checked(settings(behind.grpc, ca=ca), capsys)
        assert "TLS with the upstream fails" in text and "may want a client certificate" in text


def test_check_passes_an_upstream_whose_tls_is_in_order(tmp_path: Path, authority: trustme.CA, ca: Path) -> None:
    pair = write_pair(authority.issue_cert("127.0.0.1"), tmp_path, "server")
    with upstream(tmp_path, pair) as behind:
        settings = model(behind.grpc, ca=ca) | {"state": tmp_path / "state"}
        assert main(["check", *(f"--set={key}={value}" for key, value in settings.items())]) == 0
