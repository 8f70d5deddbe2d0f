"""The audit trail of a real server: what operators do is in it before it is done, or it is not done."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Any

import grpc
import pytest

from modelward.audit import key
from modelward.audit.files import CHECKPOINT, LogReader, LogWriter
from modelward.audit.verify import verify
from modelward.audit.witness import Request, Witness
from tests import models
from tests.commands import modelward
from tests.e2e.messages import Stub
from tests.e2e.test_promotion import ANY_LATENCY, BAD, GOOD, REASON, answers, promote, promotion
from tests.support import ServerProcess, serve_process, wait_until

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


@dataclass
class Place:
    """A server with its trail. The tests share it; one that has ended it has the next one start it again."""

    folder: Path
    stack: contextlib.ExitStack
    server: ServerProcess | None = None

    @property
    def audit(self) -> Path:
        return self.folder / "audit"

    @property
    def witnesses(self) -> tuple[Path, Path]:
        """One that has seen nothing yet, and one that has seen another log of the same key."""
        return self.folder / "sees", self.folder / "refuses"

    def running(self) -> ServerProcess:
        if self.server is None or self.server.process.poll() is not None:
            witnesses = ", ".join(f"{{folder: {each}}}" for each in self.witnesses)
            sets = ("limits.peer.rate=1/s", "limits.peer.burst=1", f"audit.witnesses=[{witnesses}]")
            self.server = self.stack.enter_context(serve_process(*arguments(self.folder, self.audit, *sets)))
        return self.server


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with contextlib.ExitStack() as stack:
        place = Place(tmp_path_factory.mktemp("audit"), stack)
        signer = key.load_or_make(place.audit, "log.example", begun=False)
        other = LogWriter.open(place.folder / "other", signer)
        other.add([b"{}"] * 3)
        other.close()
        seen = bytes(Request(0, (), (place.folder / "other" / CHECKPOINT).read_bytes()))
        assert Witness(place.witnesses[1], [signer.verifier], None).add(seen, 1).status == 200
        yield place


@pytest.fixture
def server(place: Place) -> ServerProcess:
    return place.running()


def test_what_an_operator_does_is_in_the_trail(place: Place, server: ServerProcess) -> None:
    audit = place.audit
    (line,) = [each for each in server.output if each.startswith("audit ")]
    assert key.public_key(audit).name in line
    modelward("rollback", "add", "--reason", "of a test before", "--admin", server.admin)
    first = len(records(audit))
    promote(server, "--steps", "25,100", *REASON)
    assert modelward("promote", "add", "7", "--admin", server.admin).returncode == 1
    assert modelward("rollback", "add", "--reason", "incident 8", "--admin", server.admin).returncode == 0
    assert modelward("reload", "--admin", server.admin).returncode == 0
    assert modelward("restart", "--admin", server.admin).returncode == 0
    server.process.send_signal(signal.SIGHUP)
    reloads = lambda: [r for r in records(audit)[first:] if r["verb"] == "reload"]  # noqa: E731
    wait_until(lambda: len(reloads()) == 4, "the reload by a signal")
    assert f"{len(records(audit))} records" in modelward("status", "--admin", server.admin).stdout
    assert server.metric("modelward_audit_size") >= 12
    assert server.metric("modelward_audit_up") == 1
    found = records(audit)
    assert found[0]["verb"] == "server.start"
    people = [r for r in found[first:] if r["kind"] == "human"]
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
    loaded = next(r for r in found if r["verb"] == "version.loaded" and r["version"] == "2")
    assert forced["digest"] == done["digest"] == loaded["digest"]
    assert people[3]["problems"][0]["what"] == "version 7 is not served; 1, 2 are"
    assert people[5]["reason"] == "incident 8"
    assert people[10]["actor"] == {"name": "SIGHUP", "origin": "signal"}


def test_the_command_follows_a_server(place: Place, server: ServerProcess) -> None:
    command = [sys.executable, "-m", "modelward", "audit", "tail", "--follow", "--json", "--log", place.audit / "log"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        lines = Queue[str]()
        threading.Thread(target=lambda: [lines.put(line) for line in following.stdout or ()], daemon=True).start()
        lines.get(timeout=60)  # it has read what was there
        already = len(records(place.audit))
        assert modelward("reload", "--admin", server.admin).returncode == 0
        while (record := json.loads(lines.get(timeout=60)))["n"] < already or record["verb"] != "reload":
            pass
        following.kill()


def test_a_witness_sees_the_log_and_one_that_knows_another_refuses_it_and_everyone_is_told(
    place: Place, server: ServerProcess
) -> None:
    sees, refuses = map(str, place.witnesses)
    size = server.metric("modelward_audit_size")
    wait_until(lambda: server.metric("modelward_audit_witnessed", witness=sees) >= size, "the witness to see the log")
    failures = "modelward_audit_witness_failures_total"
    wait_until(lambda: server.metric(failures, witness=refuses, why="refused"), "the other one to refuse it")
    assert server.metric(failures, witness=sees) == 0
    told = modelward("status", "--admin", server.admin).stdout.replace("\n", "")
    assert f"witnessed by {sees}" in told
    assert "REFUSES the log" in told
    wait_until(lambda: any(r["verb"] == "witness.refused" for r in records(place.audit)), "it to be recorded")


def test_what_was_asked_for_when_the_server_was_killed_has_an_outcome_after_the_next_start(
    place: Place, server: ServerProcess
) -> None:
    command = [sys.executable, "-m", "modelward", "restart", "--admin", server.admin]
    first = len(records(place.audit))
    last = lambda: records(place.audit)[first:][-1:]  # noqa: E731
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        wait_until(lambda: [r["verb"] for r in last()] == ["restart"], "it to be asked for")
        server.signal_all(signal.SIGKILL)
        server.process.wait(30)
    (asked,) = last()
    place.running()
    outcome, start = records(place.audit)[asked["n"] + 1 :][:2]
    assert (outcome["verb"], outcome["result"], outcome["of"]) == ("restart", "unknown", asked["n"])
    assert outcome["actor"] == asked["actor"]
    assert start["verb"] == "server.start"


def test_what_the_server_decides_is_in_the_trail(place: Place, server: ServerProcess) -> None:
    audit = place.audit
    first = len(records(audit))
    with Stub(server.grpc) as stub:
        refused = 0
        while refused < 20:
            try:
                stub.infer(GOOD)
            except grpc.RpcError as error:
                refused += error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    os.kill(server.workers()[0], signal.SIGKILL)
    decided = lambda: {r["verb"] for r in records(audit)[first:]}  # noqa: E731
    wait_until(lambda: "worker.died" in decided(), "the death is recorded")
    wait_until(lambda: server.metric("modelward_workers") == 1, "another worker")
    models.repository(place.folder / "models", {"add": {3: os.urandom(8)}})
    wait_until(lambda: {"version.refused", "files.followed"} <= decided(), "what became of the file is recorded")
    assert server.terminate() == 0
    found = {r["verb"]: r for r in records(audit)[first:]}
    assert [*found][-1] == "server.stop"
    assert found["worker.died"]["figures"]["count"] == 1
    assert (found["version.refused"]["model"], found["version.refused"]["version"]) == ("add", "3")
    assert found["version.refused"]["problems"][0]["what"]
    assert found["files.followed"]["kind"] == "automatic"
    (by_caller,) = found["limits.refused"]["figures"]["by_caller"].items()
    assert by_caller[0].startswith("address")
    assert by_caller[1] >= 20
    assert found["limits.refused"]["kind"] == "summary"


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
        assert modelward("reload", "--admin", server.admin).returncode == 0
        server.signal_all(signal.SIGKILL)
        server.process.wait(30)
    found = records(audit)
    assert found[: len(before)] == before, "nothing that was confirmed is lost"
    later = found[len(before) :]
    people = [(r["verb"], r["result"]) for r in later if r["kind"] == "human"]
    assert sorted(people[:-2]) == [("force", "asked"), ("force", "refused"), ("reload", "asked"), ("reload", "refused")]
    assert people[-2:] == [("reload", "asked"), ("reload", "done")], "what was confirmed outlives a kill"
    (taken_back,) = [r for r in later if r["verb"] == "promotion.rolled_back"]
    assert (taken_back["model"], taken_back["version"], taken_back["figures"]["bound"]) == ("add", "2", "errors")
    assert taken_back["before"]["percent"] == 20
    assert "failed" in taken_back["reason"]
