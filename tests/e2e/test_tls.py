"""TLS on listen.grpc, with grpcio's and OpenSSL's own clients."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import ssl
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import trustme

from modelward.cli.app import main
from modelward.problem import ProblemsFound
from modelward.server.handshake_log import BAD_CERTIFICATE, NO_CERTIFICATE, NO_TLS
from tests.certificates import Pair, authority_file, credentials, write_pair
from tests.e2e.messages import RESPONSE, request
from tests.models import add_one, repository
from tests.support import EmbeddedServer, serve_process, serving, wait_until

INFER = "/inference.GRPCInferenceService/ModelInfer"
ROW = np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)
TIMEOUT = 10.0
NAME = "localhost"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def clients_authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def pair(authority: trustme.CA, tmp_path: Path) -> Pair:
    return write_pair(authority.issue_cert(NAME, "127.0.0.1"), tmp_path, "server")


@contextlib.contextmanager
def secured(root: Path, pair: Pair, **settings: Any) -> Iterator[EmbeddedServer]:
    tls = {"tls__certificate": pair.certificate, "tls__key": pair.key}
    with serving(root, {"add": add_one()}, **(tls | settings)) as server:
        yield server


def infer(channel: grpc.Channel, timeout: float = TIMEOUT) -> list[float]:
    call = channel.unary_unary(
        INFER,
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=RESPONSE.FromString,
    )
    response = call(request("add", {"x": ROW}), timeout=timeout)
    return list(np.frombuffer(response.raw_output_contents[0], np.float32).tolist())


def infer_once(address: str, trusted: grpc.ChannelCredentials) -> list[float]:
    with grpc.secure_channel(address, trusted) as channel:
        return infer(channel)


def refused(address: str, trusted: grpc.ChannelCredentials) -> str:
    """Why a client's connection fails."""
    with pytest.raises(grpc.RpcError) as error:
        infer_once(address, trusted)
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE
    return str(error.value.details())


def client_context(authority: trustme.CA, protocols: list[str]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if protocols:
        context.set_alpn_protocols(protocols)
    return context


def raw(address: str, context: ssl.SSLContext) -> ssl.SSLSocket:
    host, _, port = address.rpartition(":")
    return context.wrap_socket(socket.create_connection((host, int(port)), TIMEOUT), server_hostname=NAME)


def serial(address: str, authority: trustme.CA) -> object:
    """Which certificate a new connection is shown."""
    with raw(address, client_context(authority, ["h2"])) as connection:
        shown = connection.getpeercert()
        assert shown is not None
        return shown["serialNumber"]


def test_a_client_that_trusts_the_authority_is_answered(tmp_path: Path, authority: trustme.CA, pair: Pair) -> None:
    with secured(tmp_path, pair) as server:
        assert infer_once(server.grpc, credentials(authority)) == [2.0, 3.0, 4.0, 5.0]


def test_a_client_that_trusts_another_authority_refuses_the_server(tmp_path: Path, pair: Pair) -> None:
    with secured(tmp_path, pair) as server:
        assert "certificate" in refused(server.grpc, credentials(trustme.CA())).lower()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_of_tls_are_spoken(
    tmp_path: Path, authority: trustme.CA, pair: Pair, version: ssl.TLSVersion
) -> None:
    context = client_context(authority, ["h2"])
    context.minimum_version = context.maximum_version = version
    with secured(tmp_path, pair) as server, raw(server.grpc, context) as connection:
        assert connection.selected_alpn_protocol() == "h2"
        assert connection.recv(9)[3] == 4  # a SETTINGS frame


def test_older_versions_of_tls_are_refused(tmp_path: Path, authority: trustme.CA, pair: Pair) -> None:
    context = client_context(authority, ["h2"])
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with secured(tmp_path, pair) as server, pytest.raises(OSError):
        raw(server.grpc, context)


@pytest.mark.parametrize("protocols", [[], ["http/1.1"]])
def test_a_connection_that_does_not_agree_on_http2_is_closed(
    tmp_path: Path, authority: trustme.CA, pair: Pair, protocols: list[str]
) -> None:
    with secured(tmp_path, pair) as server:
        with raw(server.grpc, client_context(authority, protocols)) as connection, contextlib.suppress(OSError):
            assert connection.recv(1) == b""
        assert infer_once(server.grpc, credentials(authority)) == [2.0, 3.0, 4.0, 5.0]
        wait_until(lambda: server.metric("modelward_connections") == 0, "the connections to be forgotten")


def test_plain_text_is_not_answered(tmp_path: Path, pair: Pair) -> None:
    with secured(tmp_path, pair) as server:
        with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError) as error:
            infer(channel)
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_client_certificate_may_be_required(
    tmp_path: Path, authority: trustme.CA, clients_authority: trustme.CA, pair: Pair
) -> None:
    ca = authority_file(clients_authority, tmp_path / "clients.pem")
    with secured(tmp_path, pair, tls__client_ca=ca, tls__require_client_certificate="true") as server:
        known = clients_authority.issue_cert("client.test")
        assert infer_once(server.grpc, credentials(authority, known)) == [2.0, 3.0, 4.0, 5.0]
        refused(server.grpc, credentials(authority))
        refused(server.grpc, credentials(authority, trustme.CA().issue_cert("client.test")))
        wait_until(lambda: server.metric("modelward_connections") == 0, "the connections to be forgotten")


def test_handshakes_that_fail_are_told_by_their_reason(
    tmp_path: Path,
    authority: trustme.CA,
    clients_authority: trustme.CA,
    pair: Pair,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "modelward.tls")
    ca = authority_file(clients_authority, tmp_path / "clients.pem")
    with secured(tmp_path, pair, tls__client_ca=ca, tls__require_client_certificate="true") as server:
        refused(server.grpc, credentials(authority))
        refused(server.grpc, credentials(authority, trustme.CA().issue_cert("client.test")))
        host, _, port = server.grpc.rpartition(":")
        with socket.create_connection((host, int(port))) as plain, contextlib.suppress(OSError):
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            plain.recv(1)
        for reason in (NO_CERTIFICATE, BAD_CERTIFICATE, NO_TLS):
            wait_until(lambda reason=reason: reason in caplog.text, reason)  # type: ignore[misc]


def test_a_client_certificate_that_is_optional_must_be_valid_all_the_same(
    tmp_path: Path, authority: trustme.CA, clients_authority: trustme.CA, pair: Pair
) -> None:
    ca = authority_file(clients_authority, tmp_path / "clients.pem")
    with secured(tmp_path, pair, tls__client_ca=ca) as server:
        assert infer_once(server.grpc, credentials(authority)) == [2.0, 3.0, 4.0, 5.0]
        refused(server.grpc, credentials(authority, trustme.CA().issue_cert("client.test")))


def test_a_peer_that_does_not_finish_its_handshake_is_let_go(tmp_path: Path, pair: Pair) -> None:
    with secured(tmp_path, pair, limits__timeouts__handshake="200ms") as server:
        host, _, port = server.grpc.rpartition(":")
        with socket.create_connection((host, int(port)), TIMEOUT) as silent:
            wait_until(lambda: server.metric("modelward_connections") == 1, "the connection to be counted")
            assert silent.recv(1) == b""
        wait_until(lambda: server.metric("modelward_connections") == 0, "the connection to be forgotten")
        wait_until(lambda: server.metric("modelward_tls_handshake_failures_total") == 1, "the failure to be counted")


def test_connections_that_have_not_shaken_hands_count_against_their_peers_limit(
    tmp_path: Path, authority: trustme.CA, pair: Pair
) -> None:
    with secured(tmp_path, pair, limits__connections__per_peer=2) as server, contextlib.ExitStack() as open_ones:
        host, _, port = server.grpc.rpartition(":")
        for _ in range(2):
            open_ones.enter_context(socket.create_connection((host, int(port)), TIMEOUT))
        wait_until(lambda: server.metric("modelward_connections") == 2, "both to be counted")
        with socket.create_connection((host, int(port)), TIMEOUT) as one_too_many:
            assert one_too_many.recv(1) == b""
        open_ones.close()
        wait_until(lambda: server.metric("modelward_connections") == 0, "the connections to be forgotten")
        assert infer_once(server.grpc, credentials(authority)) == [2.0, 3.0, 4.0, 5.0]


def test_handshakes_of_one_peer_have_a_share_of_its_connections_and_make_way_for_each_other(
    tmp_path: Path, authority: trustme.CA, pair: Pair
) -> None:
    with secured(tmp_path, pair, limits__connections__per_peer=40) as server, contextlib.ExitStack() as open_ones:
        host, _, port = server.grpc.rpartition(":")
        silent = [
            open_ones.enter_context(
                socket.create_connection((host, int(port)), TIMEOUT, source_address=("127.0.0.2", 0))
            )
            for _ in range(30)
        ]
        wait_until(lambda: server.metric("modelward_connections_closed_total", reason="room") == 20, "room to be made")
        assert server.metric("modelward_connections") == 10
        for connection in silent[:20]:
            assert connection.recv(1) == b""
        assert infer_once(server.grpc, credentials(authority)) == [2.0, 3.0, 4.0, 5.0]
        assert server.metric("modelward_connections_closed_total", reason="room") == 20


def test_a_renewed_certificate_is_shown_to_new_connections_and_open_ones_stay(
    tmp_path: Path, authority: trustme.CA, pair: Pair
) -> None:
    with secured(tmp_path, pair) as server, grpc.secure_channel(server.grpc, credentials(authority)) as channel:
        assert infer(channel) == [2.0, 3.0, 4.0, 5.0]
        before = serial(server.grpc, authority)
        wait_until(lambda: server.metric("modelward_connections") == 1, "only the channel's connection to be left")
        write_pair(authority.issue_cert(NAME, "127.0.0.1"), tmp_path, "server")
        wait_until(lambda: live(server).reloads == 1, "the new certificate")
        assert serial(server.grpc, authority) != before
        assert server.metric("modelward_connections") >= 1
        states: list[grpc.ChannelConnectivity] = []
        channel.subscribe(states.append)
        assert infer(channel) == [2.0, 3.0, 4.0, 5.0]
        assert set(states) <= {grpc.ChannelConnectivity.READY}


def test_a_broken_new_certificate_leaves_the_old_one(
    tmp_path: Path, authority: trustme.CA, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    with secured(tmp_path, pair) as server, caplog.at_level(logging.ERROR, "modelward.tls"):
        before = serial(server.grpc, authority)
        pair.certificate.write_text("no certificate")
        wait_until(lambda: live(server).failures == 1, "the broken file to be seen")
        assert serial(server.grpc, authority) == before
        assert server.metric("modelward_tls_reloads_total", result="failed") == 1
        assert server.metric("modelward_tls_certificate_not_after_seconds") > time.time()
        (line,) = [record.getMessage() for record in caplog.records if record.name == "modelward.tls"]
        assert "the old certificate stays" in line and str(pair.certificate) in line


def test_an_authority_that_was_taken_out_of_client_ca_admits_no_client_any_more(
    tmp_path: Path, authority: trustme.CA, clients_authority: trustme.CA, pair: Pair
) -> None:
    ca = authority_file(clients_authority, tmp_path / "clients.pem")
    with secured(tmp_path, pair, tls__client_ca=ca, tls__require_client_certificate="true") as server:
        known = credentials(authority, clients_authority.issue_cert("client.test"))
        assert infer_once(server.grpc, known) == [2.0, 3.0, 4.0, 5.0]
        authority_file(trustme.CA(), ca)
        wait_until(lambda: live(server).reloads == 1, "the new authority")
        refused(server.grpc, known)


def live(server: EmbeddedServer) -> Any:
    assert server.application.serving.tls is not None
    return server.application.serving.tls


def test_ready_and_check_tell_the_certificate_and_who_is_asked_for_one(
    tmp_path: Path, clients_authority: trustme.CA, pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    repository(tmp_path / "models", {"add": add_one()})
    ca = authority_file(clients_authority, tmp_path / "clients.pem")
    config = tmp_path / "modelward.yaml"
    config.write_text(f"repository: models\ntls: {{certificate: {pair.certificate.name}, key: {pair.key.name}}}\n")
    arguments = ["--config", str(config), "--set", f"tls.client_ca={ca}"]
    said = re.compile(r"^TLS:? .*valid until \d{4}-\d\d-\d\d \d\d:\d\d UTC; client certificates optional$", re.M)
    assert main(["check", *arguments]) == 0
    assert said.search(capsys.readouterr().out)
    with serve_process(*arguments) as server:
        assert said.search("".join(server.output))


def test_check_finds_what_keeps_serve_from_starting(
    tmp_path: Path, authority: trustme.CA, pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_pair(authority.issue_cert(NAME), tmp_path, "other")
    repository(tmp_path / "models", {"add": add_one()})
    sets = [f"--set=tls.certificate={pair.certificate}", f"--set=tls.key={other.key}"]
    assert main(["check", str(tmp_path / "models"), *sets]) == 1
    assert "tls.key does not match tls.certificate" in capsys.readouterr().err
    nowhere = ["--grpc-port=0", "--http-port=0", "--set=listen.admin=off"]
    assert main(["serve", str(tmp_path / "models"), *nowhere, *sets]) == 1
    assert "tls.key does not match tls.certificate" in capsys.readouterr().err


def test_a_unix_socket_listens_with_its_mode_and_may_be_taken_over_from_the_dead(tmp_path: Path) -> None:
    path = tmp_path / "modelward.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with serving(tmp_path, {"add": add_one()}, listen__grpc=f"unix:{path}", listen__mode="'0660'") as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        with grpc.insecure_channel(server.grpc) as channel:
            assert infer(channel) == [2.0, 3.0, 4.0, 5.0]
    assert not path.exists()


def test_a_unix_socket_that_a_server_listens_on_is_not_taken_from_it(tmp_path: Path) -> None:
    path = tmp_path / "modelward.sock"
    with serving(tmp_path, {"add": add_one()}, listen__grpc=f"unix:{path}") as server:
        second = serving(tmp_path, {"add": add_one()}, listen__grpc=f"unix:{path}")
        with pytest.raises(ProblemsFound, match="cannot listen on unix:"):
            second.__enter__()
        with grpc.insecure_channel(server.grpc) as channel:
            assert infer(channel) == [2.0, 3.0, 4.0, 5.0]


def test_a_unix_socket_speaks_tls_as_well(tmp_path: Path, authority: trustme.CA, pair: Pair) -> None:
    name = [("grpc.ssl_target_name_override", NAME)]
    path = f"unix:{tmp_path / 'modelward.sock'}"
    with (
        secured(tmp_path, pair, listen__grpc=path),
        grpc.secure_channel(path, credentials(authority), name) as channel,
    ):
        assert infer(channel) == [2.0, 3.0, 4.0, 5.0]
