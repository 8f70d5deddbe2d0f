"""Versions promoted and taken back by the real commands, while a real server answers."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from modelward.server.sticky import BYTES, FILE
from tests import models
from tests.commands import modelward
from tests.e2e.messages import Stub, request
from tests.e2e.test_admin import told
from tests.support import ServerProcess, serve_process, wait_until

GOOD = request("add", {"x": np.full((1, 4), 3, np.float32)})
BAD = request("add", {"x": np.full((1, 4), 300, np.float32)})  # version 2 fails on it
REASON = ("--force", "--reason", "a test")
ANY_LATENCY = "models.add.promotion.bounds={latency: 1000}"  # a busy machine makes a version slow now and then
ROLLBACK_SECONDS = 30.0  # two looks, and what a busy machine makes of them and of a command that asks


def of_two_versions(folder: Path) -> tuple[str | Path, ...]:
    """Two workers of two versions; version 1 has everything."""
    root = models.repository(folder / "models", {"add": {1: models.add_one(), 2: models.add_one_below(100)}})
    sets = ("workers=2", 'models.add.versions={"1": 1}', ANY_LATENCY, f"state={folder / 'state'}")
    return (root, *(word for each in sets for word in ("--set", each)))


@pytest.fixture
def arguments(tmp_path: Path) -> tuple[str | Path, ...]:
    return of_two_versions(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve_process(*of_two_versions(tmp_path_factory.mktemp("promotion"))) as process:
        yield process


@pytest.fixture
def server(shared: ServerProcess) -> Iterator[ServerProcess]:
    """Of all tests that leave it answering; none leaves a promotion to the next."""
    yield shared
    if shared.metric("modelward_version_share", version="2"):
        modelward("rollback", "add", "--admin", shared.admin)


def answers(server: ServerProcess, count: int = 400) -> Counter[str]:
    """Requests by the version that answered, over connections to both workers."""
    with Stub(server.grpc) as one, Stub(server.grpc) as other:
        return Counter(stub.infer(GOOD).model_version for _ in range(count // 2) for stub in (one, other))


def promotion(server: ServerProcess) -> Any:
    (each,) = told(server, "status")["promotions"]
    return each


def promote(server: ServerProcess, *arguments: str) -> None:
    ended = modelward("promote", "add", "2", *arguments, "--admin", server.admin)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_what_is_refused_is_told_and_changes_nothing(server: ServerProcess) -> None:
    assert told(server, "status")["promotions"] == []
    for words, *arguments in (
        ("the verdict on version 2 is not there", "promote", "add", "2"),
        ("version 7 is not served; 1, 2 are", "promote", "add", "7", *REASON),
        ("--force needs --reason", "promote", "add", "2", "--force"),
        ("are no steps", "promote", "add", "2", "--steps", "50,10", *REASON),
        ("there is no such model", "rollback", "other"),
        ("Did you mean add?", "promote", "ad", "2", *REASON),
        ("nothing was promoted: version 1 answers", "rollback", "add"),
    ):
        refused = modelward(*arguments, "--admin", server.admin)
        assert refused.returncode == 1, words
        assert words in refused.stderr
    assert told(server, "status")["promotions"] == []
    assert answers(server, 50).keys() == {"1"}


def test_by_default_the_first_step_is_the_first(server: ServerProcess) -> None:
    promote(server, *REASON)
    found = promotion(server)
    assert (found["percent"], found["steps"]) == (1, [1, 10, 50, 100])


def test_a_promotion_goes_from_step_to_step_and_back_in_all_workers(server: ServerProcess) -> None:
    rolled_back = {"outcome": "rolled_back", "reason": "asked"}
    before = server.metric("modelward_promotions_total", **rolled_back)
    assert answers(server).keys() == {"1"}
    promote(server, "--steps", "25,100", *REASON)
    assert 60 <= answers(server)["2"] <= 140
    assert [server.metric("modelward_version_share", version=v) for v in ("1", "2")] == [0.75, 0.25]
    early = modelward("promote", "add", "2", "--admin", server.admin)
    assert early.returncode == 1
    assert "25 % of the requests have not shown yet that it keeps every bound" in early.stderr
    promote(server, *REASON)
    assert answers(server).keys() == {"2"}
    back = modelward("rollback", "add", "--reason", "incident 8", "--admin", server.admin)
    assert back.returncode == 0
    assert "rolled back, 0 % of the requests" in back.stdout
    assert [server.metric("modelward_version_share", version=v) for v in ("1", "2")] == [1, 0]
    assert server.metric("modelward_promotions_total", **rolled_back) == before + 1
    assert answers(server).keys() == {"1"}
    told_last = told(server, "status")["events"][-1]
    assert (told_last["what"], told_last["why"], told_last["model"]) == ("rolled back", "incident 8", "add")
    assert f"uid {os.getuid()}" in told_last["actor"], "the client is known by its socket"
    shown = modelward("status", "--admin", server.admin)
    assert "rolled back" in shown.stdout
    assert "by itself" not in shown.stdout


def test_what_was_promoted_is_so_after_a_restart_of_a_worker_and_of_the_server(
    arguments: tuple[str | Path, ...],
) -> None:
    with serve_process(*arguments) as server:
        promote(server, "--steps", "50,100", *REASON)
        before = set(server.workers())
        assert modelward("restart", "--admin", server.admin).returncode == 0
        wait_until(lambda: not before & set(server.workers()), "other workers")
        assert answers(server).keys() == {"1", "2"}
        assert server.terminate() == 0
    with serve_process(*arguments) as server:
        found = promotion(server)
        assert (found["version"], found["percent"], found["why"]) == ("2", 50, "a test")
        assert answers(server).keys() == {"1", "2"}


@pytest.mark.parametrize("fallback", [False, True], ids=["without a fallback", "with one"])
def test_a_version_that_starts_to_fail_is_taken_back_within_seconds(
    arguments: tuple[str | Path, ...], *, fallback: bool
) -> None:
    fallbacks = ("--set", "models.add.fallback=[{value: {y: [[0, 0, 0, 0]]}}]") if fallback else ()
    with serve_process(*arguments, *fallbacks) as server:
        promote(server, "--steps", "20,100", *REASON)
        assert 30 <= answers(server)["2"] <= 130, "it is good so far"
        asked = failed = replaced = 0
        began = time.monotonic()
        with Stub(server.grpc) as stub:
            while promotion(server)["phase"] == "stepping":
                assert time.monotonic() - began < ROLLBACK_SECONDS
                for _ in range(100):
                    asked += 1
                    try:
                        answer = stub.infer(BAD)
                    except grpc.RpcError:
                        failed += 1
                    else:
                        replaced += "modelward_fallback" in answer.parameters
            assert {stub.infer(BAD).model_version for _ in range(50)} == {"1"}
        assert (failed == 0) is fallback, "each of them was answered by the fallback"
        assert (replaced > 0) is fallback
        assert failed + replaced <= 0.35 * asked, "no more than the step's share saw it"
        found = promotion(server)
        assert found["phase"] == "rolled back"
        assert "fallback" in found["why"] if fallback else "failed" in found["why"]
        reason = "fallbacks" if fallback else "errors"
        assert server.metric("modelward_promotions_total", model="add", outcome="rolled_back", reason=reason) == 1


@pytest.mark.parametrize("moved", [False, True], ids=["equal", "moved"])
def test_a_version_is_taken_back_for_other_answers_and_not_for_equal_ones(tmp_path: Path, *, moved: bool) -> None:
    versions = {1: models.add_one(), 2: models.identity() if moved else models.add_one_below(100)}
    root = models.repository(tmp_path / "models", {"add": versions})
    few = "models.add.promotion.min_requests=100"
    sets = ('models.add.versions={"1": 1}', few, ANY_LATENCY, f"state={tmp_path / 'state'}")
    with serve_process(root, *(word for each in sets for word in ("--set", each))) as server:
        promote(server, "--steps", "50,100", *REASON)
        answers(server, 4000)  # of 16, one is looked at
        if moved:
            wait_until(lambda: promotion(server)["phase"] == "rolled back", "the rollback")
        found = promotion(server)
        assert found["phase"] == ("rolled back" if moved else "stepping")
        assert ("its answers are distributed otherwise" in found["why"]) is moved
        assert server.metric("modelward_promotions_total", outcome="rolled_back", reason="outputs") == moved


def test_steps_by_themselves_wait_for_answers_that_are_not_decided_yet(tmp_path: Path) -> None:
    """Many times as many requests as every other bound needs, with answers that are wrong by a constant."""
    versions = {1: models.add_one(), 2: models.identity()}
    root = models.repository(tmp_path / "models", {"add": versions})
    promoting = "{min_requests: 50, hold: 1ms, steps: [50, 100], bounds: {latency: 1000}}"
    sets = ('models.add.versions={"1": 1}', f"models.add.promotion={promoting}", f"state={tmp_path / 'state'}")
    with serve_process(root, *(word for each in sets for word in ("--set", each))) as server:
        promote(server, "--auto", *REASON)
        while promotion(server)["phase"] == "stepping":
            answers(server, 400)
            assert promotion(server)["percent"] < 100
        found = promotion(server)
        assert (found["phase"], found["actor"]) == ("rolled back", "modelward")
        assert "its answers are distributed otherwise" in found["why"]


@pytest.mark.parametrize("by", ["caller", "request"])
def test_two_callers_bring_a_step_its_share_only_by_request(tmp_path: Path, by: str) -> None:
    root = models.repository(tmp_path / "models", {"add": {1: models.add_one(), 2: models.add_one()}})
    keys = tmp_path / "keys.json"
    tokens = []
    for name in ("a", "b"):
        added = modelward("token", "add", name, "--file", keys)
        assert added.returncode == 0, added.stderr
        tokens.append(added.stdout.strip())
    access = "access={keys: %s, rules: [{identity: '*', models: '*'}]}" % keys  # noqa: UP031
    # with the server's own random key, one of the two callers would be of the 1 % in one run of fifty
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / FILE).write_text(bytes(BYTES).hex())
    sets = ('models.add.versions={"1": 1}', f"models.add.promotion.by={by}", access, f"state={tmp_path / 'state'}")
    with serve_process(root, *(word for each in sets for word in ("--set", each))) as server, Stub(server.grpc) as stub:

        def asked(count: int) -> Counter[str]:
            callers = [[("x-api-key", token)] for token in tokens]
            return Counter(stub.infer(GOOD, metadata=caller).model_version for _ in range(count) for caller in callers)

        asked(20)
        answer = modelward("promote", "add", "2", *REASON, "--admin", server.admin)
        assert ("2 callers so far: 1 % of them may be none" in answer.stderr) is (by == "caller")
        seen = asked(1200)
        if by == "request":
            assert 5 <= seen["2"] <= 60
        else:
            assert seen["2"] == 0
            wait_until(lambda: "2 callers so far" in str(promotion(server)["bounds"]), "what is missing")
            shown = modelward("status", "--admin", server.admin).stdout
            assert "requests in this step, 2 callers so far: 1 % of them may be none" in shown
            assert "models.add.promotion.by to request" in shown


def test_a_rollback_is_done_although_it_cannot_be_written_and_written_later(tmp_path: Path) -> None:
    root = models.repository(tmp_path / "models", {"add": {1: models.add_one(), 2: models.add_one()}})
    folder = tmp_path / "state"
    arguments = (root, "--set", 'models.add.versions={"1": 1}', "--set", f"state={folder}")
    with serve_process(*arguments) as server:
        promote(server, "--steps", "50,100", *REASON)
        folder.rename(tmp_path / "aside")
        folder.write_text("in the way")
        back = modelward("rollback", "add", "--admin", server.admin)
        assert back.returncode == 3
        assert "rolled back" in back.stdout
        assert "done, but not durable" in back.stderr
        assert answers(server, 100).keys() == {"1"}
        assert server.metric("modelward_state_unsaved") == 1
        assert server.metric("modelward_state_write_failures_total") >= 1
        assert "what was done last is not on disk" in modelward("status", "--admin", server.admin).stderr
        folder.unlink()
        wait_until(lambda: server.metric("modelward_state_unsaved") == 0, "the state is written")
    with serve_process(*arguments) as server:
        assert promotion(server)["phase"] == "rolled back"
        assert answers(server, 100).keys() == {"1"}


def test_a_state_that_cannot_be_written_is_told_before_it_is_needed(tmp_path: Path) -> None:
    root = models.repository(tmp_path / "models", {"add": {1: models.add_one(), 2: models.add_one()}})
    (tmp_path / "file").write_text("")
    arguments = (root, "--set", f"state={tmp_path / 'file' / 'state'}")
    assert "will not outlive a restart" in modelward("check", *arguments).stderr
    with serve_process(*arguments) as server:
        wait_until(lambda: "will not outlive a restart" in "".join(server.output), "the note")
