"""New versions in the repository of a real server: who answers from their arrival on."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests import models
from tests.commands import modelward
from tests.e2e.test_admin import told
from tests.e2e.test_promotion import REASON, answers
from tests.support import ServerProcess, serve_process, wait_until


def arrive(root: Path, version: int, beside: Path) -> None:
    """A version is moved into the repository whole."""
    made = models.repository(beside, {"add": {version: models.add_one()}})
    (made / "add" / str(version)).rename(root / "add" / str(version))


def versions(server: ServerProcess) -> dict[str, float]:
    return {model["version"]: model["share"] for model in told(server, "status")["models"]}


@pytest.mark.parametrize("policy", ["newest", "promoted"])
def test_a_version_that_arrives_answers_at_once_or_when_it_is_promoted(tmp_path: Path, policy: str) -> None:
    root = models.repository(tmp_path / "models", {"add": {1: models.add_one()}})
    state = ("--set", f"state={tmp_path / 'state'}")
    arguments = (root, "--set", f"version_policy={policy}", *state)
    with serve_process(*arguments) as server:
        arrive(root, 2, tmp_path / "beside")
        wait_until(lambda: "2" in versions(server), "the version to be loaded")
        assert answers(server, 50).keys() == {"2" if policy == "newest" else "1"}
        shown = modelward("status", "--admin", server.admin)
        assert f"add: 2 versions, version_policy {policy}" in shown.stdout
        wait_until(
            lambda: (
                [(e["what"], e["actor"]) for e in told(server, "status")["events"]][-1:] == [("reload", "watching")]
            ),
            "status tells what was found by watching",
        )
    checked = modelward("check", *arguments)
    assert ("a new version answers from its arrival on: add by 2" in checked.stderr) is (policy == "newest")
    with serve_process(*arguments) as server:
        assert answers(server, 50).keys() == {"2" if policy == "newest" else "1"}, "as before the restart"
        if policy == "newest":
            wait_until(lambda: any("version_policy newest" in line for line in server.output), "READY says so")
        if policy == "promoted":
            asked = modelward("promote", "add", "2", "--steps", "100", *REASON, "--admin", server.admin)
            assert asked.returncode == 0
            assert answers(server, 50).keys() == {"2"}


def test_a_version_that_was_taken_back_does_not_answer_where_the_record_of_it_is_lost(tmp_path: Path) -> None:
    root = models.repository(tmp_path / "models", {"add": {1: models.add_one(), 2: models.add_one()}})
    state = tmp_path / "state"
    arguments = (root, "--set", "version_policy=promoted", "--set", f"state={state}")
    with serve_process(*arguments) as server:
        assert answers(server, 20).keys() == {"1"}
        asked = modelward("promote", "add", "2", "--steps", "100", *REASON, "--admin", server.admin)
        assert asked.returncode == 0, asked.stderr
        assert answers(server, 20).keys() == {"2"}
        assert modelward("rollback", "add", "--admin", server.admin).returncode == 0
    shutil.rmtree(state)
    with serve_process(*arguments) as server:
        assert answers(server, 20).keys() == {"1"}
        said = "no promotion is on record: add is answered by version 1; version 2 waits"
        wait_until(lambda: sum(said in line for line in server.output) == 2, "the log and READY say so")
        made = models.repository(tmp_path / "beside", {"late": {1: models.add_one(), 2: models.add_one()}})
        (made / "late").rename(root / "late")
        shares = {"1": 1.0, "2": 0.0}
        wait_until(
            lambda: (
                {m["version"]: m["share"] for m in told(server, "status")["models"] if m["name"] == "late"} == shares
            ),
            "a model that arrives with two versions is answered by its oldest",
        )


def test_with_an_explicit_policy_a_model_without_versions_is_a_problem(tmp_path: Path) -> None:
    root = models.repository(tmp_path / "models", {"add": {1: models.add_one()}})
    checked = modelward("check", root, "--set", "version_policy=explicit")
    assert checked.returncode == 1
    assert "models.add.versions" in checked.stderr
    named = ("--set", 'models.add.versions={"1": 1}')
    assert modelward("check", root, "--set", "version_policy=explicit", *named).returncode == 0


def test_a_new_version_without_the_canary_of_the_one_before_does_not_take_over_by_a_reload(tmp_path: Path) -> None:
    root = models.repository(tmp_path / "models", {"add": {1: models.add_one()}})
    file = root / "add" / "1" / "model.onnx"
    np.savez(tmp_path / "rows.npz", x=np.ones((2, 4), np.float32))
    recorded = modelward("canary", "record", file, "--data", tmp_path / "rows.npz")
    assert recorded.returncode == 0, recorded.stderr
    with serve_process(root, "--set", f"state={tmp_path / 'state'}", "--set", "watch=false") as server:
        arrive(root, 2, tmp_path / "beside")
        refused = modelward("reload", "--admin", server.admin)
        assert refused.returncode == 1
        assert "version 2 has no canary, and version 1 has one" in refused.stderr
        assert "--without-canary" in refused.stderr
        event = told(server, "status")["events"][-1]
        assert event["what"] == "reload refused"
        assert "no canary" in event["why"]
        assert answers(server, 50).keys() == {"1"}
        assert modelward("restart", "--admin", server.admin).returncode == 0
        assert answers(server, 50).keys() == {"1"}, "nor by a restart of the workers"
    with serve_process(root, "--set", f"state={tmp_path / 'state'}") as server:
        said = "version 2 answers without a canary, which version 1 has"
        wait_until(lambda: any(said in line for line in server.output), said)


def test_a_shadow_is_called_the_version_that_answers_only_where_it_is(tmp_path: Path) -> None:
    root = models.repository(tmp_path / "models", {"add": {1: models.add_one(), 2: models.add_one()}})
    shadow = ("--set", "models.add.shadow={version: 2}")
    state = ("--set", f"state={tmp_path / 'state'}")
    promoted = (root, *shadow, *state, "--set", "version_policy=promoted")
    said = "the shadow 2 is the version that answers"
    assert said in modelward("check", root, *shadow, *state).stderr, "the newest does"
    assert said not in modelward("check", *promoted).stderr, "the oldest does until one is promoted"
    with serve_process(*promoted) as server:
        assert answers(server, 20).keys() == {"1"}
        assert not any(said in line for line in server.output)
        assert modelward("reload", "--admin", server.admin).returncode == 0
        assert not any(said in line for line in server.output), "nor at a reload"
        asked = modelward("promote", "add", "2", "--steps", "100", "--force", *REASON, "--admin", server.admin)
        assert asked.returncode == 0, asked.stderr
    before = sorted((tmp_path / "state").iterdir())
    assert said in modelward("check", *promoted).stderr, "now it does"
    assert sorted((tmp_path / "state").iterdir()) == before, "check only looks at the state"
    with serve_process(*promoted) as server:
        assert answers(server, 20).keys() == {"2"}
        wait_until(lambda: any(said in line for line in server.output), said)
