"""A server that may open few files: connections have what is left of them, and no peer has all of those."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests.attack.raw import Target
from loadtests.attack.requests import good, opening
from loadtests.fuzz.frames import DATA, END_STREAM, frame
from modelward.cli.app import main
from modelward.config.load import load
from modelward.server.descriptors import connection_bounds
from tests import models
from tests.support import ServerProcess, serve_process, wait_until

FILES = 300
LIMITED = ("sh", "-c", f'ulimit -n {FILES}; exec "$@"', "limited")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    root = models.repository(tmp_path_factory.mktemp("descriptors"), {"add": models.add_one()})
    with serve_process(root, launcher=LIMITED) as running:
        yield running


def greeted(stack: contextlib.ExitStack, server: ServerProcess, source: str) -> socket.socket:
    """A connection that has said what a client says first, and nothing more."""
    host, _, port = server.grpc.rpartition(":")
    connection = socket.create_connection((host, int(port)), 10, source_address=(source, 0))
    stack.enter_context(contextlib.closing(connection))
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5))
    return connection


def test_idle_connections_of_many_peers_keep_no_other_out(server: ServerProcess) -> None:
    with contextlib.ExitStack() as stack:
        for i in range(8):
            for _ in range(60):
                greeted(stack, server, f"127.0.1.{i + 1}")
        most = connection_bounds(load(), FILES)
        assert most.total < FILES
        wait_until(lambda: server.metric("modelward_connections") >= most.total // 2, "the connections to be there")
        for i in range(20):
            host, _, port = server.grpc.rpartition(":")
            with Target(host, int(port), source=f"127.0.2.{i + 1}").connect() as newcomer:
                newcomer.greet()
                newcomer.send(opening(1) + frame(DATA, 1, good(), END_STREAM))
                assert newcomer.read_until_ended(1)
                assert newcomer.statuses == {"0": 1}
        assert server.metric("modelward_connections") <= most.total
        assert server.page("/readyz")[0] == 200
    assert server.metric("modelward_connections_refused_total", reason="descriptors") == 0


def test_a_peer_has_a_quarter_of_the_connections_that_descriptors_leave_room_for() -> None:
    found = connection_bounds(load(), FILES)
    assert (found.total, found.per_peer, found.here) == (172, 43, 172)
    assert connection_bounds(load(sets=["workers=2"]), FILES).total == 2 * 172
    many = connection_bounds(load(), 1 << 20)
    assert (many.total, many.per_peer) == (20_000, 1_000)


def test_more_connections_than_descriptors_are_a_note_of_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = models.repository(tmp_path / "models", {"add": models.add_one()})
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert main(["check", str(root), "--json", "--set", "limits.connections.total=900000"]) == 0
    (note,) = json.loads(capsys.readouterr().out)["notes"]
    assert note["where"] == "limits.connections.total"
    assert f"a process may open {hard} files" in note["why"]
