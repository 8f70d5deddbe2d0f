"""The admin API of a real server, asked by the real commands."""

from __future__ import annotations

import json
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import trustme

from modelward.admin.server import MOST_CALLS
from modelward.admin.service import SERVICE, message
from modelward.cli.admin import Client, Unreachable
from modelward.config.address import parse_address
from modelward.problem import ProblemsFound
from tests import models
from tests.certificates import authority_file, write_pair
from tests.commands import modelward
from tests.e2e.messages import Stub, request
from tests.e2e.test_workers import Load
from tests.support import ServerProcess, serve_process, wait_until

SECONDS = 120.0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return models.repository(tmp_path / "models", {"add": {1: models.add_one(), 2: models.add_one()}})


def told(server: ServerProcess, command: str) -> Any:
    ended = modelward(command, "--admin", server.admin, "--json")
    assert ended.stderr == ""
    return json.loads(ended.stdout)


def test_ready_shows_where_it_is_and_status_shows_workers_and_models(root: Path) -> None:
    shares = '{"1": 3, "2": 1}'
    with serve_process(root, "--set", "workers=2", "--set", f"models.add.versions={shares}") as server:
        with Load(server.grpc, 2) as load:
            wait_until(lambda: load.answered > 10 and server.metric("modelward_connections") == 2, "both clients")
            status = told(server, "status")
        assert load.failures == []
        assert (status["pid"], status["state"], status["generation"]) == (server.process.pid, "ready", 1)
        assert (status["grpc"], status["http"]) == (server.grpc, server.http)
        assert sorted(worker["pid"] for worker in status["workers"]) == sorted(server.workers())
        assert {worker["state"] for worker in status["workers"]} == {"ready"}
        assert sum(worker["connections"] for worker in status["workers"]) == 2
        served = [(model["name"], model["version"], model["share"]) for model in status["models"]]
        assert served == [("add", "1", 0.75), ("add", "2", 0.25)]
        assert "anomaly" in status["models"][0]["guards_off"]
        shown = modelward("status", "--admin", server.admin, COLUMNS="300")
        assert shown.returncode == 0
        assert f"pid {server.process.pid}: ready" in shown.stdout
        rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.stdout.splitlines() if "│" in line]
        assert {row[1] for row in rows if len(row) == 6} == {str(pid) for pid in server.workers()}
        assert [row[:3] for row in rows if len(row) > 6] == [["add", "1", "75 %"], ["add", "2", "25 %"]]
        assert "\x1b" not in shown.stdout


def test_status_tells_who_is_over_which_limit(root: Path) -> None:
    with serve_process(root, "--set", "limits.identity={rate: 1/h, burst: 1}") as server:
        with Stub(server.grpc) as stub:
            row = request("add", {"x": np.zeros((1, 4), np.float32)})
            stub.infer(row)
            for _ in range(3):
                with pytest.raises(grpc.RpcError):
                    stub.infer(row)
        ended = modelward("status", "--identities", "5", "--admin", server.admin, "--json")
        (refused,) = json.loads(ended.stdout)["refused"]
        assert (refused["kind"], refused["name"], refused["refused"]) == ("address", "127.0.0.1", {"identity": 3})
        shown = modelward("status", "--identities", "--admin", server.admin, COLUMNS="200").stdout
        assert "127.0.0.1" in shown and "3 identity" in shown


def test_a_reload_says_what_changed_or_what_is_wrong_and_waits_for_it(root: Path, tmp_path: Path) -> None:
    config = tmp_path / "modelward.yaml"
    written = f"repository: {root}\nwatch: false\nlisten: {{admin: 'unix:{tmp_path}/admin.sock'}}\n"
    config.write_text(written)
    asked = ("--set", f"listen.admin=unix:{tmp_path}/admin.sock", "--set", "workers=2")
    with serve_process("--config", config, *asked) as server:
        assert stat.S_IMODE((tmp_path / "admin.sock").stat().st_mode) == 0o600
        config.write_text(written + "limits: {streams: many}\n")
        refused = modelward("reload", "--config", config)
        assert refused.returncode == 1
        assert "limits.streams: 'many': input should be a valid integer" in refused.stderr
        assert f"where: {config}:4" in refused.stderr
        assert told(server, "status")["generation"] == 1
        config.write_text(written + "limits: {streams: 64}\nhealth: {interval: 1s}\n")
        models.repository(root, {"new": models.add_one()})
        applied = modelward("reload", "--config", config)
        assert (applied.returncode, applied.stderr) == (0, "")
        assert "reloaded: generation 2" in applied.stdout
        assert "model new version 1 is new" in applied.stdout
        assert "limits.streams" in applied.stdout
        assert [model["name"] for model in told(server, "status")["models"]] == ["add", "add", "new"]
        config.write_text(written.replace("listen: {", "listen: {mode: '0666', ") + "limits: {streams: 64}\n")
        answer = told(server, "reload")
        assert (answer["changed"], answer["needs_restart"]) == (["health.interval"], ["listen.mode"])
        assert server.terminate() == 0
    assert not (tmp_path / "admin.sock").exists()


def test_a_restart_replaces_every_worker_and_loses_no_request(root: Path) -> None:
    with serve_process(root, "--set", "workers=2") as server:
        before = set(server.workers())
        with Load(server.grpc, 4) as load:
            wait_until(lambda: load.answered > 50, "load")
            restarted = modelward("restart", "--admin", server.admin)
            answered = load.answered
            wait_until(lambda: load.answered > answered + 50, "answers of the new workers")
        assert load.failures == []
        assert (restarted.returncode, restarted.stderr) == (0, "")
        replaced = re.findall(r"worker \d+ \(pid (\d+)\) is in the place of pid (\d+)", restarted.stdout)
        assert {int(pid) for _, pid in replaced} == before
        wait_until(lambda: not before & set(server.workers()), "the old ones to end")
        assert {int(pid) for pid, _ in replaced} == set(server.workers())


def test_reloads_at_once_share_one_that_waits(root: Path) -> None:
    with serve_process(root, "--set", "watch=false") as server, grpc.insecure_channel(server.admin) as channel:
        models.repository(root, {"slow": models.slow_loop(20_000)})  # the first reload waits for its warm-up
        reload = channel.unary_unary(f"/{SERVICE}/Reload", response_deserializer=message("ReloadResponse").FromString)
        calls = [reload.future(b"")]
        wait_until(
            lambda: any(line.endswith("reloading models\n") for line in server.output), "the first reload", SECONDS
        )
        calls += [reload.future(b"") for _ in range(MOST_CALLS // 2 - 1)]
        Client(parse_address(server.admin), channel).call("Status")  # answered once they are there
        assert [call.result(SECONDS).generation for call in calls] == [2] + [3] * (MOST_CALLS // 2 - 1)


def test_a_restart_while_another_lasts_is_refused(root: Path) -> None:
    with serve_process(root, "--set", "workers=2") as server, grpc.insecure_channel(server.admin) as channel:
        client = Client(parse_address(server.admin), channel)
        steps: Iterator[Any] = client.stream("RollingRestart")
        assert next(steps).HasField("replaced")
        with pytest.raises(ProblemsFound, match="being restarted already"):
            next(client.stream("RollingRestart"))
        assert [step.WhichOneof("step") for step in steps] == ["replaced", "done"]


def test_a_server_that_starts_tells_its_state_and_does_nothing_yet(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/admin.sock"
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen: it is waited for
        waiting = ("--upstream", f"127.0.0.1:{bound.getsockname()[1]}", "--set", "health.startup=10m")
        command = ["serve", "--grpc-port", "0", "--http-port", "0", "--set", f"listen.admin={address}", *waiting]
        with subprocess.Popen([sys.executable, "-m", "modelward", *command], stderr=subprocess.DEVNULL) as starting:
            try:
                wait_until((tmp_path / "admin.sock").exists, "the socket", SECONDS)
                with grpc.insecure_channel(address) as channel:
                    client = Client(parse_address(address), channel)
                    wait_until(lambda: _state(client) == "starting", "a worker that starts", SECONDS)
                refused = modelward("reload", "--admin", address)
                assert (refused.returncode, "still starting" in refused.stderr) == (1, True)
            finally:
                starting.terminate()
            assert starting.wait(SECONDS) == 0


def _state(client: Client) -> str:
    """Of the first worker; "" where there is none yet, or no server that answers."""
    try:
        status: Any = client.call("Status")
    except Unreachable:  # the socket's file is there before anybody listens
        return ""
    return status.workers[0].state if status.workers else ""


def test_a_restart_that_cannot_be_is_refused_with_the_reason(root: Path) -> None:
    with serve_process(root, "--set", "watch=false") as server:
        (root / "add/1/model.onnx").write_bytes(b"no model")
        before = server.workers()
        refused = modelward("restart", "--admin", server.admin)
        assert refused.returncode == 1
        assert "this is no ONNX model" in refused.stderr
        assert set(before) <= set(server.workers())
        answer = told(server, "restart")
        assert answer["replaced"] == []
        assert "this is no ONNX model" in answer["problems"][0]["what"]


def test_without_a_server_the_commands_say_so_and_exit_with_2(root: Path, tmp_path: Path) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        for command in ("status", "reload", "restart"):
            ended = modelward(command, "--admin", address)
            assert ended.returncode == 2
            assert f"no server answers at {address}" in ended.stderr
            assert "mend: Check that the server runs" in ended.stderr
    with serve_process(root, "--set", "listen.admin=off") as server:
        assert not any(line.startswith("admin") for line in server.output)
        ended = modelward("status", "--admin", server.grpc)
        assert (ended.returncode, f"{server.grpc} is no admin API" in ended.stderr) == (2, True)
    off = tmp_path / "off.yaml"
    off.write_text("listen: {admin: off}\n")
    ended = modelward("status", "--config", off)
    assert (ended.returncode, "the admin API is off" in ended.stderr) == (2, True)
    chosen = modelward("status", MODELWARD__LISTEN__ADMIN="127.0.0.1:0")
    assert (chosen.returncode, "the kernel has chosen the port" in chosen.stderr) == (2, True)
    wrong = modelward("status", "--admin", "nowhere")
    assert (wrong.returncode, "'nowhere' has no port" in wrong.stderr) == (2, True)


def test_a_taken_port_and_an_open_one_are_refused_at_the_start(root: Path) -> None:
    arguments = ("serve", root, "--grpc-port", "0", "--http-port", "0", "--set")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = modelward(*arguments, f"listen.admin=127.0.0.1:{taken.getsockname()[1]}")
    assert ended.returncode == 1
    assert "--set listen.admin=off" in ended.stderr
    ended = modelward(*arguments, "listen.admin=0.0.0.0:0")
    assert ended.returncode == 1
    assert "which other machines reach, and there is no admin_tls" in ended.stderr


def test_other_machines_are_let_in_with_certificates(root: Path, tmp_path: Path) -> None:
    authority = trustme.CA()
    ca = authority_file(authority, tmp_path / "ca.pem")
    ours = write_pair(authority.issue_cert("localhost"), tmp_path, "server")
    theirs = write_pair(authority.issue_cert("operator"), tmp_path, "operator")
    tls = f"admin_tls={{certificate: {ours.certificate}, key: {ours.key}, client_ca: {ca}}}"
    with serve_process(root, "--set", "listen.admin=0.0.0.0:0", "--set", tls) as server:
        address = f"localhost:{server.admin.rpartition(':')[2]}"
        files = ("--ca", ca, "--certificate", theirs.certificate, "--key", theirs.key)
        assert modelward("status", "--admin", address, *files).returncode == 0
        by_number = ("--admin", address.replace("localhost", "127.0.0.1"), *files)
        assert modelward("status", *by_number).returncode == 2
        assert modelward("status", *by_number, "--server-name", "localhost").returncode == 0
        assert modelward("check", root, "--set", "listen.admin=0.0.0.0:0", "--set", tls).returncode == 0
        plain = modelward("status", "--admin", address)
        assert (plain.returncode, "With admin_tls it needs --ca" in plain.stderr) == (2, True)
        half = modelward("status", "--admin", address, "--ca", ca)
        assert (half.returncode, "mTLS needs all three of its files" in half.stderr) == (2, True)
