"""Models that cannot be served: the others are, what is refused is told everywhere, and rules are followed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import grpc
import numpy as np
import pytest

from modelward.problem import ProblemsFound
from tests import models
from tests.commands import modelward
from tests.e2e.messages import Stub, arrays, request
from tests.e2e.test_admin import told
from tests.e2e.test_reload import put
from tests.support import reloadable, serve_process, serving, wait_until

ROW = np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)
SECONDS = 60.0


def foreign(root: Path) -> None:
    """What lies in repositories of other servers, or should not lie in any."""
    (root / "ensemble/1").mkdir(parents=True)
    (root / "ensemble/config.pbtxt").write_text('platform: "ensemble"\n')
    (root / "tensorrt/1").mkdir(parents=True)
    (root / "tensorrt/1/model.plan").write_bytes(b"plan")
    (root / "python/1").mkdir(parents=True)
    (root / "python/1/model.py").write_text("class TritonPythonModel: ...\n")
    models.repository(root, {"sequence": models.sequence_output(), "custom": models.custom_domain(), "broken": b"no"})
    for name in ("pipe", "profile", "canary", "settings", "folder", "device"):
        models.repository(root, {name: models.add_one()})
    (root / "pipe/1/model.onnx").unlink()
    os.mkfifo(root / "pipe/1/model.onnx")
    os.mkfifo(root / "profile/1/profile.npz")
    os.mkfifo(root / "canary/1/canary.npz")
    os.mkfifo(root / "settings/model.yaml")
    (root / "folder/1/model.onnx").unlink()
    (root / "folder/1/model.onnx").mkdir()
    (root / "device/1/profile.npz").symlink_to("/dev/zero")


REFUSED = ["broken", "canary", "custom", "device", "ensemble", "folder", "pipe", "profile", "python", "sequence"]
REFUSED += ["settings", "tensorrt"]


def test_a_good_model_is_served_beside_everything_that_cannot_be(tmp_path: Path) -> None:
    root = models.repository(tmp_path / "models", {"good": models.add_one()})
    foreign(root)
    with serving(root, {}) as server, Stub(server.grpc) as stub:
        np.testing.assert_array_equal(arrays(stub.infer(request("good", {"x": ROW})))["y"], ROW + 1)
        index = {entry.name: entry for entry in stub.ask("RepositoryIndex").models}
        assert sorted(index) == sorted([*REFUSED, "good"])
        assert {entry.state for entry in index.values()} == {"READY", "UNAVAILABLE"}
        for name in REFUSED:
            assert index[name].state == "UNAVAILABLE" and index[name].reason, name
            assert "/" not in index[name].reason, "clients see no paths"
        assert "model.plan is a model of TensorRT" in index["tensorrt"].reason
        assert [entry.name for entry in stub.ask("RepositoryIndex", ready=True).models] == ["good"]
        assert not stub.ask("ModelReady", name="broken").ready
        with pytest.raises(grpc.RpcError) as error:
            stub.infer(request("broken", {"x": ROW}))
        assert error.value.code() is grpc.StatusCode.NOT_FOUND
        for name in REFUSED * 3:
            with pytest.raises(grpc.RpcError, match=f"'{name}' is known and cannot be served"):
                stub.infer(request(name, {"x": ROW}))
        assert server.metric("modelward_models_refused") == len(REFUSED)


def test_strict_and_a_file_that_is_named_are_the_end_of_a_start(tmp_path: Path) -> None:
    root = models.repository(tmp_path / "models", {"good": models.add_one(), "broken": b"no"})
    with pytest.raises(ProblemsFound, match="this is no ONNX model"), serving(root, {}, strict=True):
        pass
    with (
        pytest.raises(ProblemsFound, match="this is no ONNX model"),
        serving(root, {}, repository=root / "broken/1/model.onnx"),
    ):
        pass


def test_where_nothing_can_be_served_the_start_ends_with_all_problems(tmp_path: Path) -> None:
    root = models.repository(tmp_path / "models", {"broken": b"no", "custom": models.custom_domain()})
    with pytest.raises(ProblemsFound) as found, serving(root, {}):
        pass
    assert len(found.value.problems) == 2


def test_a_model_that_has_become_bad_stays_as_it_was_with_its_settings(tmp_path: Path) -> None:
    root = tmp_path / "models"
    with reloadable(root, {"add": {1: models.add_one(), 2: models.add_one()}, "other": models.add_one()}) as server:
        engines = {model.key: model.engine for model in server.application.models}
        (root / "add/2/model.onnx").write_bytes(b"no")
        changed = server.reload(models__add__deadline="1s", models__other__deadline="2s")
        assert changed == ["models.other.deadline"]
        settings = {model.key: model.checked.settings.deadline for model in server.application.models}
        assert settings == {("add", "1"): None, ("add", "2"): None, ("other", "1"): 2_000_000_000}
        assert {model.key: model.engine for model in server.application.models} == engines
        (refused,) = server.application.refused
        assert (refused.name, refused.version, refused.kept) == ("add", "2", True)
        with Stub(server.grpc) as stub:
            assert stub.infer(request("add", {"x": ROW})).model_version == "2"
            states = {(entry.name, entry.version): entry.state for entry in stub.ask("RepositoryIndex").models}
            assert set(states.values()) == {"READY"}, "what is served is ready, whatever lies in the folder"
            reasons = {entry.version: entry.reason for entry in stub.ask("RepositoryIndex").models if entry.reason}
            assert reasons.keys() == {"2"}
            assert "an older file is served; the one on disk was refused: this is no ONNX model" in reasons["2"]
        put(root, "add", 3, models.identity())
        (root / "add/2/model.onnx").write_bytes(models.identity())
        assert "model add version 2 has another file" in server.reload()
        assert server.application.refused == ()


def test_a_new_version_that_is_bad_takes_nothing_from_the_others(tmp_path: Path) -> None:
    root = tmp_path / "models"
    with reloadable(root, {"add": models.add_one()}) as server, Stub(server.grpc) as stub:
        put(root, "add", 2, b"no")
        put(root, "add", 3, models.identity())
        assert server.reload() == ["model add version 3 is new"]
        assert stub.infer(request("add", {"x": ROW})).model_version == "3"
        entries = {entry.version: entry.state for entry in stub.ask("RepositoryIndex").models}
        assert entries == {"1": "READY", "2": "UNAVAILABLE", "3": "READY"}


def test_versions_without_a_share_do_not_answer_for_one_that_is_refused(tmp_path: Path) -> None:
    root = models.repository(tmp_path / "models", {"add": {1: models.add_one(), 2: b"no"}, "other": models.add_one()})
    with serving(root, {}, models__add__versions='{"1": 0, "2": 1}') as server:
        assert {model.key for model in server.application.models} == {("other", "1")}
        assert {(each.name, each.version) for each in server.application.refused} == {("add", "2"), ("add", "")}


def test_a_fallback_that_is_refused_is_left_out_and_told(tmp_path: Path) -> None:
    root = models.repository(tmp_path / "models", {"full": models.add_one(), "lite": b"no"})
    with serving(root, {}, models__full__fallback="[{model: lite}]") as server, Stub(server.grpc) as stub:
        stub.infer(request("full", {"x": ROW}))
        assert [model.gaps for model in server.application.models] == ["its fallback lite is not served"]


def test_a_fallback_that_has_changed_leaves_the_fallback_chain_of_a_model_that_stays(tmp_path: Path) -> None:
    root = tmp_path / "models"
    chain = {"models__full__fallback": "[{model: lite}]"}
    with reloadable(root, {"full": models.add_one(), "lite": models.add_one()}, **chain) as server:
        (root / "full/1/model.onnx").write_bytes(b"no")
        (root / "lite/1/model.onnx").write_bytes(models.add_one(columns=5))
        server.reload()
        (full,) = [model for model in server.application.models if model.key == ("full", "1")]
        assert full.gaps == "its fallback lite is not served"


def test_a_model_that_never_ends_its_first_run_is_given_up_and_not_tried_again(tmp_path: Path) -> None:
    root = models.repository(tmp_path / "models", {"good": models.add_one()})
    with reloadable(root, {}, load_timeout="3s") as server:
        put(root, "endless", 1, models.slow_loop(2**62))
        assert server.reload(limits__streams=64) == ["limits.streams"]
        (refused,) = server.application.refused
        assert "takes too long to load: it took longer than 3 s" in str(refused)
        assert "runs on" not in str(refused), "its thread was ended"
        server.reload()
        (again,) = server.application.refused
        assert "is not tried again" in str(again)
        (root / "endless/1/model.onnx").write_bytes(models.add_one())
        assert server.reload() == ["model endless version 1 is new"]


def test_a_file_of_200_bytes_that_takes_all_time_or_memory_is_refused_without_harm(tmp_path: Path) -> None:
    root = models.repository(tmp_path / "models", {"good": models.add_one()})
    with serve_process(root, "--set", "watch=false", "--set", "load_timeout=5s") as server, Stub(server.grpc) as stub:
        workers = server.workers()
        put(root, "time", 1, models.hungry(10_000))
        put(root, "memory", 1, models.hungry(2**18))
        put(root, "small", 1, models.hungry(2**4))
        reload = modelward("reload", "--admin", server.admin)
        assert reload.returncode == 1
        assert "model small version 1 is new" in reload.stdout
        index = {entry.name: entry for entry in stub.ask("RepositoryIndex").models}
        assert index["time"].state == index["memory"].state == "UNAVAILABLE"
        stub.infer(request("good", {"x": ROW}))
        assert server.workers() == workers


def test_rules_are_followed_while_a_model_does_not_end(tmp_path: Path) -> None:
    """The reload of models is still under way; what is not about models is obeyed, in every worker."""
    root = models.repository(tmp_path / "models", {"good": models.add_one()})
    config = tmp_path / "modelward.yaml"

    def write(rules: str) -> None:
        written = f"repository: {root}\nwatch: false\nworkers: 2\nload_timeout: 200s\naccess: {{rules: {rules}}}\n"
        config.write_text(written)

    everybody = '[{anonymous: true, models: ["*"]}]'
    write(everybody)
    with serve_process("--config", config, "--set", "listen.admin=127.0.0.1:0") as server:

        def codes() -> set[grpc.StatusCode]:
            """What eight connections are told, which two workers share."""
            found = set()
            for _ in range(8):
                with Stub(server.grpc) as stub:
                    try:
                        stub.infer(request("good", {"x": ROW}))
                        found.add(grpc.StatusCode.OK)
                    except grpc.RpcError as error:
                        found.add(error.code())
            return found

        assert codes() == {grpc.StatusCode.OK}
        put(root, "endless", 1, models.slow_loop(2**62))
        write('[{anonymous: true, models: ["other"]}]')
        os.kill(server.process.pid, 1)
        wait_until(lambda: codes().isdisjoint({grpc.StatusCode.OK}), "the rule to be gone")
        assert not any("refused" in line and "endless" in line for line in server.output), "the model is being tried"
        write(everybody)  # while that reload of models is under way
        os.kill(server.process.pid, 1)
        wait_until(lambda: codes() == {grpc.StatusCode.OK}, "the rule to be back")
        assert not any("refused" in line and "endless" in line for line in server.output), "it still is"


def test_reload_and_restart_return_with_what_is_wrong(tmp_path: Path) -> None:
    root = models.repository(tmp_path / "models", {"good": models.add_one()})
    arguments = ("--set", "watch=false", "--set", "load_timeout=5s", "--set", "workers=2")
    with serve_process(root, *arguments) as server:
        put(root, "endless", 1, models.slow_loop(2**62))
        put(root, "new", 1, models.add_one())
        reload = modelward("reload", "--admin", server.admin)
        assert reload.returncode == 1
        assert "the model takes too long to load" in reload.stderr
        assert "reloaded in part: generation 2\n  model new version 1 is new" in reload.stdout
        (refused,) = told(server, "status")["refused"]
        assert (refused["name"], refused["kept"]) == ("endless", False)
        restart = modelward("restart", "--admin", server.admin)
        assert (restart.returncode, restart.stderr) == (0, "")
        (refused,) = told(server, "status")["refused"]
        assert "is not tried again" in refused["problems"][0]["what"], "new workers know from the others"


def test_a_restart_does_not_take_a_model_away_that_a_worker_still_serves(tmp_path: Path) -> None:
    root = models.repository(tmp_path / "models", {"add": models.add_one(), "good": models.add_one()})
    with serve_process(root, "--set", "watch=false") as server, Stub(server.grpc) as stub:
        (root / "add/1/model.onnx").write_bytes(b"no")
        restart = modelward("restart", "--admin", server.admin)
        assert restart.returncode == 1
        assert "this is no ONNX model" in restart.stderr
        stub.infer(request("add", {"x": ROW}))
        shutil.rmtree(root / "add")
        restart = modelward("restart", "--admin", server.admin)
        assert (restart.returncode, restart.stderr) == (0, "")


def test_check_ends_and_lists_everything_that_is_refused(tmp_path: Path) -> None:
    root = models.repository(tmp_path / "models", {"good": models.add_one(), "endless": models.slow_loop(2**62)})
    foreign(root)
    check = modelward("check", root, "--set", "load_timeout=5s")
    assert check.returncode == 3, "serve would start without some"
    assert "good" in check.stdout
    for name in [*REFUSED, "endless"]:
        assert f"models/{name}" in check.stderr, name
