"""The audit trail of a real server: what operators do is in it before it is done, or it is not done."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from modelward.audit import key
from modelward.audit.files import LogReader
from modelward.audit.verify import verify
from tests import models
from tests.e2e.messages import Stub
from tests.e2e.test_admin import modelward
from tests.e2e.test_promotion import ANY_LATENCY, BAD, GOOD, REASON, answers, promote, promotion
from tests.support import serve_process, wait_until

ROLLBACK_SECONDS = 30.0


def records(folder: Path) -> list[dict[str, Any]]:
    """All, from a log that is whole."""
    reader = LogReader(folder / "log")
    found = verify(reader, key.public_key(folder))
    assert found.findings == ()
    assert found.checkpoint is not None
    return [json.loads(each) for each in reader.records(0, found.checkpoint.size)]


def arguments(root: Path, audit: Path, *sets: str) -> list[str | Path]:
    repository = models.repository(root / "models", {"add": {1: models.add_one(), 2: models.add_one_below(100)}})
    sets = ('models.add.versions={"1": 1}', ANY_LATENCY, f"state={root / 'state'}", f"audit.folder={audit}", *sets)
    return [repository, *(word for each in sets for word in ("--set", each))]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a file system")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def filled(disk: Path) -> Path:
    """A file that takes all the room that is left."""
    file = disk / "filler"
    with file.open("wb", buffering=0) as out, contextlib.suppress(OSError):
        while True:
            out.write(bytes(4096))
    with pytest.raises(OSError, match="No space left"):
        (disk / "probe").write_bytes(bytes(8192))
    (disk / "probe").unlink()
    return file


def test_what_an_operator_does_is_in_the_trail(tmp_path: Path) -> None:
    audit = tmp_path / "audit"
    with serve_process(*arguments(tmp_path, audit)) as server:
        (line,) = [each for each in server.output if each.startswith("audit ")]
        assert key.public_key(audit).name in line
        promote(server, "--steps", "25,100", *REASON)
        assert modelward("promote", "add", "7", "--admin", server.admin).returncode == 1
        assert modelward("rollback", "add", "--reason", "incident 8", "--admin", server.admin).returncode == 0
        assert modelward("reload", "--admin", server.admin).returncode == 0
        assert modelward("restart", "--admin", server.admin).returncode == 0
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len([r for r in records(audit) if r["verb"] == "reload"]) == 4, "the reload by a signal")
        assert f"{len(records(audit))} records" in modelward("status", "--admin", server.admin).stdout
        assert server.metric("modelward_audit_size") >= 12
        assert server.metric("modelward_audit_up") == 1
        assert server.terminate() == 0
    found = records(audit)
    assert (found[0]["verb"], found[-1]["verb"]) == ("server.start", "server.stop")
    people = [r for r in found if r["kind"] == "human"]
    verbs = ["force", "promote", "rollback", "reload", "restart", "reload"]
    assert [r["verb"] for r in people] == [verb for verb in verbs for _ in range(2)]
    for asked, outcome in zip(people[::2], people[1::2], strict=True):
        assert (asked["result"], outcome["of"]) == ("asked", asked["n"])
    forced, done, *_ = people
    assert forced["actor"]["name"]
    assert forced["actor"]["origin"]
    assert (forced["model"], forced["version"], forced["reason"]) == ("add", "2", "a test")
    assert forced["before"] == {"shares": {"1": 1}}
    assert done["after"]["shares"] == {"1": 7500, "2": 2500}
    (loaded,) = [r for r in found if r["verb"] == "version.loaded" and r["version"] == "2"]
    assert forced["digest"] == done["digest"] == loaded["digest"]
    assert people[3]["problems"][0]["what"] == "version 7 is not served; 1, 2 are"
    assert people[5]["reason"] == "incident 8"
    assert people[10]["actor"] == {"name": "SIGHUP", "origin": "signal"}


def test_on_a_full_disk_people_are_refused_and_the_server_protects_itself(tmp_path: Path, small_disk: Path) -> None:
    audit = small_disk / "audit"
    with serve_process(*arguments(tmp_path, audit)) as server:
        promote(server, "--steps", "20,50,100", *REASON)
        before = records(audit)
        filler = filled(small_disk)
        refused = modelward("promote", "add", "2", *REASON, "--admin", server.admin)
        assert refused.returncode == 1
        assert "the audit trail cannot be written" in refused.stderr
        assert os.strerror(errno.ENOSPC) in refused.stderr
        assert "Make room there" in refused.stderr
        assert (promotion(server)["percent"], promotion(server)["steps"]) == (20, [20, 50, 100])
        assert modelward("reload", "--admin", server.admin).returncode == 1
        assert answers(server, 50), "requests are answered meanwhile"
        assert server.metric("modelward_audit_up") == 0
        assert server.metric("modelward_audit_failures_total", what="records") >= 1
        began = time.monotonic()
        with Stub(server.grpc) as stub:
            while promotion(server)["phase"] == "stepping":
                assert time.monotonic() - began < ROLLBACK_SECONDS
                for _ in range(100):
                    with contextlib.suppress(grpc.RpcError):
                        stub.infer(BAD)
            assert {stub.infer(GOOD).model_version for _ in range(20)} == {"1"}
        assert records(audit) == before
        filler.unlink()
        wait_until(lambda: server.metric("modelward_audit_up") == 1, "the trail is written again")
        wait_until(lambda: server.metric("modelward_audit_waiting") == 0, "all of it")
        found = records(audit)
        assert modelward("reload", "--admin", server.admin).returncode == 0
    assert found[: len(before)] == before, "nothing that was confirmed is lost"
    later = found[len(before) :]
    people = [(r["verb"], r["result"]) for r in later if r["kind"] == "human"]
    assert sorted(people) == [("force", "asked"), ("force", "refused"), ("reload", "asked"), ("reload", "refused")]
    (taken_back,) = [r for r in later if r["verb"] == "promotion.rolled_back"]
    assert (taken_back["model"], taken_back["version"], taken_back["figures"]["bound"]) == ("add", "2", "errors")
    assert taken_back["before"]["percent"] == 20
    assert "failed" in taken_back["reason"]


def test_what_was_confirmed_outlives_a_kill(tmp_path: Path) -> None:
    audit = tmp_path / "audit"
    for confirmed in (1, 2):
        with serve_process(*arguments(tmp_path, audit)) as server:
            assert modelward("reload", "--admin", server.admin).returncode == 0
            server.signal_all(signal.SIGKILL)
            server.process.wait(30)
        done = [r for r in records(audit) if r["verb"] == "reload" and r["result"] == "done"]
        assert len(done) == confirmed


def test_without_audit_everything_is_done_and_ready_says_that_nothing_is_recorded(tmp_path: Path) -> None:
    repository = models.repository(tmp_path / "models", {"add": models.add_one()})
    with serve_process(repository, "--set", f"state={tmp_path / 'state'}") as server:
        assert any(each.startswith("audit ") and "is not recorded" in each for each in server.output)
        assert modelward("reload", "--admin", server.admin).returncode == 0
        assert server.metric("modelward_audit_up") == 0
    assert not (tmp_path / "state" / "audit").exists()


def test_what_the_server_decides_is_in_the_trail(tmp_path: Path) -> None:
    audit = tmp_path / "audit"
    with serve_process(*arguments(tmp_path, audit, "limits.peer.rate=1/s", "limits.peer.burst=1")) as server:
        with Stub(server.grpc) as stub:
            refused = 0
            while refused < 20:
                try:
                    stub.infer(GOOD)
                except grpc.RpcError as error:
                    refused += error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        (worker,) = server.workers()
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: any(r["verb"] == "worker.died" for r in records(audit)), "the death is recorded")
        wait_until(lambda: server.metric("modelward_workers") == 1, "another worker")
        (tmp_path / "models" / "add" / "3").mkdir()
        (tmp_path / "models" / "add" / "3" / "model.onnx").write_bytes(b"none")
        told = {"version.refused", "files.followed"}
        wait_until(lambda: told <= {r["verb"] for r in records(audit)}, "what became of the file is recorded")
        assert server.terminate() == 0
    found = {r["verb"]: r for r in records(audit)}
    assert found["worker.died"]["figures"]["count"] == 1
    assert (found["version.refused"]["model"], found["version.refused"]["version"]) == ("add", "3")
    assert found["version.refused"]["problems"][0]["what"]
    assert found["files.followed"]["kind"] == "automatic"
    (by_caller,) = found["limits.refused"]["figures"]["by_caller"].items()
    assert by_caller[0].startswith("address")
    assert by_caller[1] >= 20
    assert found["limits.refused"]["kind"] == "summary"


def test_the_command_follows_a_server(tmp_path: Path) -> None:
    audit = tmp_path / "audit"
    with serve_process(*arguments(tmp_path, audit)) as server:
        command = [sys.executable, "-m", "modelward", "audit", "tail", "--follow", "--json", "--log", audit / "log"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
            assert following.stdout is not None
            assert json.loads(following.stdout.readline())["verb"] == "server.start"
            assert modelward("reload", "--admin", server.admin).returncode == 0
            while json.loads(following.stdout.readline())["verb"] != "reload":
                pass
            following.kill()
