"""Three servers that are one fleet through a real Valkey or PostgreSQL, which goes away and comes back."""

from __future__ import annotations

import contextlib
import functools
import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests import models, postgres
from tests import store as stores
from tests.commands import modelward
from tests.e2e.messages import Stub
from tests.e2e.test_admin import told
from tests.e2e.test_promotion import ANY_LATENCY, BAD, REASON, answers
from tests.support import ServerProcess, serve_process, serve_processes, wait_until

FOLLOW_SECONDS = 10.0  # 0.3 s, and what a busy machine makes of it
BACK_SECONDS = 6.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[stores.Store]:
    with stores.running(tmp_path) as running:
        yield running


def arguments(root: Path, url: str, replica: str, *sets: str) -> list[str | Path]:
    repository = root / "models"
    if not repository.exists():
        models.repository(repository, {"add": {1: models.add_one(), 2: models.add_one_below(100)}})
    given = (
        'models.add.versions={"1": 1}', ANY_LATENCY, f"state={root / replica}", f"fleet.url={url}",
        f"fleet.replica={replica}", "fleet.interval=200ms", *sets,
    )  # fmt: skip
    return [repository, *(word for each in given for word in ("--set", each))]


@contextlib.contextmanager
def fleet(root: Path, url: str, *sets: str, names: Sequence[str] = ("a", "b", "c")) -> Iterator[list[ServerProcess]]:
    with serve_processes(*(arguments(root, url, name, *sets) for name in names)) as servers:
        yield servers


def state(server: ServerProcess) -> str:
    found: list[Any] = told(server, "status")["promotions"]
    return f"{found[0]['phase']} {found[0]['percent']}" if found else "none"


def share(server: ServerProcess) -> float:
    return server.metric("modelward_version_share", model="add", version="2")


def promote(server: ServerProcess, *words: str) -> None:
    ended = modelward("promote", "add", "2", *words, *REASON, "--admin", server.admin)
    assert (ended.returncode, ended.stderr) == (0, "")


def all_have(servers: Sequence[ServerProcess], wanted: float, seconds: float = FOLLOW_SECONDS) -> None:
    what = f"all servers to give version 2 {wanted:.0%}"
    wait_until(lambda: all(share(server) == wanted for server in servers), what, seconds)


class Wire:
    """Between one server and the store: it may be cut, and mended."""

    def __init__(self, store: stores.Store) -> None:
        self._store = store
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._cut = False
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._cut = True
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self._cut = False

    def close(self) -> None:
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._cut:
                    client.close()
                    continue
                there = self._store.connected()
                there.settimeout(None)
                self._open |= {client, there}
                for pair in ((client, there), (there, client)):
                    threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        for each in (source, sink):
            self._open.discard(each)
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def failing(*servers: ServerProcess) -> Iterator[None]:
    """Sends these what version 2 fails on and version 1 answers, for as long as this lasts."""
    over = threading.Event()

    def ask(server: ServerProcess) -> None:
        with Stub(server.grpc) as stub:
            while not over.is_set():
                with contextlib.suppress(grpc.RpcError):
                    stub.infer(BAD)

    threads = [threading.Thread(target=ask, args=(server,)) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def taken_back(servers: Sequence[ServerProcess], seconds: float = BACK_SECONDS) -> float:
    """How long it took."""
    began = time.monotonic()
    wait_until(lambda: all(share(server) == 0 for server in servers), "all to take it back", seconds)
    return time.monotonic() - began


def limits(server: ServerProcess) -> list[Any]:
    found: list[Any] = told(server, "status").get("temporary_limits", [])
    return found


def shares_overrides(one: ServerProcess, other: ServerProcess) -> None:
    """What is set on one server is unset on another, and on all."""
    what = ("model", "add", "--admin")
    done = modelward(
        "limit", "set", *what[:2], "--rate", "1000000/s", "--for", "10m", "--reason", "x", "--admin", one.admin
    )
    assert done.returncode == 0, done.stderr
    wait_until(lambda: limits(other), "the other server to have the limit", 10.0)
    done = modelward("limit", "unset", *what[:2], "--admin", other.admin)
    assert done.returncode == 0, done.stderr
    wait_until(lambda: not limits(one), "the first server to have none", 10.0)


def listed(server: ServerProcess) -> list[Any]:
    ended = modelward("status", "--fleet", "--json", "--admin", server.admin)
    assert ended.returncode == 0, ended.stderr
    found: list[Any] = json.loads(ended.stdout)["fleet_servers"]
    return found


def lists_all(servers: Sequence[ServerProcess]) -> None:
    """Each server knows of all others what they have promoted, once these have said so."""

    def agree(server: ServerProcess) -> bool:
        found = listed(server)
        assert [each["replica"] for each in found] == ["a", "b", "c", "late"]
        steps = {(of["step"], of["epoch"]) for each in found for of in each["models"]}
        return len(steps) == 1 and [each["leads"] for each in found].count(True) == 1

    for server in servers[:2]:
        wait_until(functools.partial(agree, server), "all to say the same")
    shown = modelward("status", "--fleet", "--admin", servers[0].admin).stdout
    assert "rolled back" in shown
    assert "leads" in shown


@pytest.fixture(params=["valkey", "postgres"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "valkey":
        yield request.getfixturevalue("store").url
        return
    with postgres.running() as database:
        yield database.url()


def test_one_promotion_moves_all_servers_and_a_late_one_joins_its_step(tmp_path: Path, url: str) -> None:
    with fleet(tmp_path, url) as servers:
        promote(servers[1], "--steps", "25,100")
        all_have(servers, 0.25)
        with serve_process(*arguments(tmp_path, url, "late")) as late:
            assert share(late) == 0.25
            assert answers(late, 100)["2"] > 0
            shares_overrides(servers[0], late)
            promote(late)
            all_have([*servers, late], 1)
            assert {state(server) for server in servers} == {"stepping 100"}
            with failing(late):
                taken_back([*servers, late])
            assert {state(server) for server in servers} == {"rolled back 0"}
            lists_all([*servers, late])


def test_a_server_that_is_cut_off_takes_back_alone_and_then_all_do(tmp_path: Path, store: stores.Store) -> None:
    wire = Wire(store)
    given = [arguments(tmp_path, store.url, "a"), arguments(tmp_path, wire.url, "b")]
    with contextlib.closing(wire), serve_processes(*given) as (near, far):
        promote(near, "--steps", "50,100")
        all_have([near, far], 0.5)
        wire.cut()
        wait_until(lambda: not far.metric("modelward_fleet_up"), "it to notice")
        refused = modelward("promote", "add", "2", *REASON, "--admin", far.admin)
        assert refused.returncode == 1
        assert "cannot be reached" in refused.stderr
        promote(near)
        all_have([near], 1)
        assert share(far) == 0.5, "it keeps what it has"
        with failing(far):
            taken_back([far])
        assert share(near) == 1
        wire.mend()
        taken_back([near, far])
        promote(near, "--steps", "50,100")
        all_have([near, far], 0.5)


def test_while_the_store_is_gone_all_keep_what_they_have_and_what_it_has_lost_is_put_back(
    tmp_path: Path, store: stores.Store
) -> None:
    with fleet(tmp_path, store.url, names="ab") as servers:
        promote(servers[0], "--steps", "50,100")
        all_have(servers, 0.5)
        store.kill()
        wait_until(lambda: not any(server.metric("modelward_fleet_up") for server in servers), "them to notice")
        assert [share(server) for server in servers] == [0.5, 0.5]
        assert "it cannot be reached" in told(servers[1], "status")["fleet"]
        back = modelward("rollback", "add", "--reason", "a test", "--admin", servers[1].admin)
        assert back.returncode == 0
        assert "done on this server alone: the others of the fleet follow when the store is back" in back.stderr
        assert [share(server) for server in servers] == [0.5, 0]
        store.start()  # empty
        taken_back(servers)
        with serve_process(*arguments(tmp_path, store.url, "a", f"state={tmp_path / 'late'}")) as late:
            assert state(late) == "rolled back 0"
            tell_that_a_name_is_taken(servers[0], late, servers[1])


def tell_that_a_name_is_taken(one: ServerProcess, other: ServerProcess, third: ServerProcess) -> None:
    """Of two servers with one name, and of no other. Any server of the fleet lists it."""

    def is_told() -> bool:
        both = all(server.metric("modelward_fleet_name_taken") for server in (one, other))
        return both and {each["name_taken"] for each in listed(third) if each["replica"] == "a"} == {True}

    wait_until(is_told, "both servers to see each other")
    assert not third.metric("modelward_fleet_name_taken")
    assert "another server has this name too" in modelward("status", "--fleet", "--admin", third.admin).stdout
    assert "another server is called a too" in told(one, "status")["fleet"]
