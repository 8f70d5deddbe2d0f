"""Another configuration, other models and other limits from one request to the next, with requests on their way."""

from __future__ import annotations

import contextlib
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
import pytest
from onnx import TensorProto

from modelward.problem import ProblemsFound
from modelward.server.app import Application
from modelward.telemetry.snapshot import OTHER_MODEL
from tests.e2e.messages import Stub, arrays, parameters, request
from tests.models import add_one, identity, repository, slow_loop
from tests.support import Server, reloadable, serve_process, wait_until

ROW = np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)
CLIENTS = 4


@dataclass
class Load:
    """Clients that ask one request after the other. answers: how many; failures: what went wrong."""

    answers: int = 0
    failures: list[str] = field(default_factory=list)

    def wait_for(self, more: int) -> None:
        """Until `more` more requests have been answered."""
        seen = self.answers
        wait_until(lambda: self.failures or self.answers >= seen + more, f"{more} more answers", 60)


@contextlib.contextmanager
def under_load(server: Server, ask: Callable[[Stub], None], clients: int = CLIENTS) -> Iterator[Load]:
    """`ask` is called again and again by each client; fails where any call of it failed."""
    load = Load()
    ended = threading.Event()
    lock = threading.Lock()

    def run() -> None:
        with Stub(server.grpc) as stub:
            while not ended.is_set():
                try:
                    ask(stub)
                except (grpc.RpcError, AssertionError) as error:
                    load.failures.append(str(error))
                    return
                with lock:
                    load.answers += 1

    threads = [threading.Thread(target=run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        load.wait_for(clients)
        yield load
    finally:
        ended.set()
        for thread in threads:
            thread.join(60)
    assert not load.failures, load.failures


def put(root: Path, name: str, version: int, content: bytes) -> None:
    """A version moved into its place as one, as deployments do it."""
    made = root.parent / f"{name}-{version}.new"
    made.mkdir()
    (made / "model.onnx").write_bytes(content)
    (root / name).mkdir(exist_ok=True)
    made.rename(root / name / str(version))


def infer_add(stub: Stub) -> None:
    """Any version of the model "add" answers with one or with nothing added."""
    (added,) = {float(d) for d in (arrays(stub.infer(request("add", {"x": ROW})))["y"] - ROW).ravel()}
    assert added in (0.0, 1.0)


def unloaded(application: Application) -> bool:
    return not application.serving.retired


def test_twenty_swaps_of_a_version_under_load_fail_no_request(tmp_path: Path) -> None:
    root = tmp_path / "models"
    with reloadable(root, {"add": add_one()}) as server, under_load(server, infer_add) as clients:
        for version in range(2, 22):
            put(root, "add", version, identity() if version % 2 else add_one())
            shutil.rmtree(root / "add" / str(version - 1))
            assert server.reload() == [
                f"model add version {version - 1} is gone",
                f"model add version {version} is new",
            ]
            clients.wait_for(2 * CLIENTS)
            with Stub(server.grpc) as stub:
                assert stub.infer(request("add", {"x": ROW})).model_version == str(version)
        wait_until(lambda: unloaded(server.application), "old versions to be unloaded")
    assert clients.answers >= 20 * 2 * CLIENTS


def test_what_is_gone_keeps_its_sums_and_not_its_figures(tmp_path: Path) -> None:
    root, steps = tmp_path / "models", 40

    def requests(**labels: str) -> float:
        return server.metric("modelward_requests_total", code="OK", **labels)

    def series() -> int:
        return sum(line.startswith("modelward_requests_total{") for line in server.page("/metrics")[1].splitlines())

    with reloadable(root, {"add": add_one()}) as server, Stub(server.grpc) as stub:
        for step in range(1, steps + 1):  # a version that stays behind, and a model that does
            infer_add(stub)
            stub.infer(request("add", {"x": ROW}))
            put(root, "add", step + 1, add_one())
            put(root, f"model-{step}", 1, add_one())
            shutil.rmtree(root / "add" / str(step))
            shutil.rmtree(root / f"model-{step - 1}", ignore_errors=True)
            server.reload()
            stub.infer(request(f"model-{step}", {"x": ROW}))
            # what is still held is not "(removed)" yet
            wait_until(lambda: unloaded(server.application), "what is gone to be let go")
            assert requests() == 3 * step
            assert requests(model="add") == 2 * step
        assert requests(model="add", version=str(steps)) == 2
        assert requests(model="add", version="(removed)") > steps
        assert requests(model=OTHER_MODEL, version="(removed)") > steps / 2
        assert series() < 25


def test_what_does_not_change_keeps_its_session_and_its_counters(tmp_path: Path) -> None:
    root = tmp_path / "models"
    with reloadable(root, {"add": add_one(), "other": identity()}) as server, Stub(server.grpc) as stub:
        engines = {model.key: model.engine for model in server.application.models}
        infer_add(stub)
        put(root, "add", 2, identity())
        assert server.reload(models__add__deadline="5s") == ["model add version 2 is new", "models.add.deadline"]
        after = {model.key: model.engine for model in server.application.models}
        assert {key: after[key] is engines[key] for key in engines} == {("add", "1"): True, ("other", "1"): True}
        stub.infer(request("add", {"x": ROW}, version="1"))
        assert server.metric("modelward_requests_total", model="add", version="1", code="OK") == 2
        assert server.reload() == []


def test_a_file_that_is_replaced_is_loaded_and_counted_on(tmp_path: Path) -> None:
    root = tmp_path / "models"
    with reloadable(root, {"add": add_one()}) as server, Stub(server.grpc) as stub:
        infer_add(stub)
        (root / "add/1/new").write_bytes(identity())
        (root / "add/1/new").rename(root / "add/1/model.onnx")
        assert server.reload() == ["model add version 1 has another file"]
        assert (arrays(stub.infer(request("add", {"x": ROW})))["y"] == ROW).all()
        assert server.metric("modelward_requests_total", model="add", version="1", code="OK") == 2


def test_requests_end_with_what_they_began_with(tmp_path: Path) -> None:
    """In the worker thread of an old version while the model, its fallback chain and its deadline go."""
    root = tmp_path / "models"
    slow = slow_loop(40_000)
    models: dict[str, bytes | dict[int, bytes]] = {"slow": slow, "add": add_one()}
    (root / "slow").mkdir(parents=True)
    (root / "slow" / "model.yaml").write_text("batching: {max: 1}\n")  # which is warmed up in a third of the time
    with reloadable(root, models) as server, Stub(server.grpc) as stub:
        (engine,) = (model.engine for model in server.application.models if model.key == ("slow", "1"))
        calls = [stub.future(request("slow", {"x": ROW})) for _ in range(3)]
        wait_until(lambda: engine.running, "a run in the thread")
        shutil.rmtree(root / "slow")
        assert "model slow version 1 is gone" in server.reload()
        assert not unloaded(server.application)
        with pytest.raises(grpc.RpcError) as refused:
            stub.infer(request("slow", {"x": ROW}))
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        for call in calls:
            assert call.result(60).model_name == "slow"
        wait_until(lambda: unloaded(server.application), "the old version to be unloaded")
        assert server.metric("modelward_requests_total", model="slow", version="1", code="OK") == 3


def test_a_fallback_chain_that_is_taken_away_still_answers_those_who_began_with_it(tmp_path: Path) -> None:
    root = tmp_path / "models"
    models: dict[str, bytes | dict[int, bytes]] = {"slow": slow_loop(60_000)}
    value = '[{"value": {"y": 7.0}}]'
    settings = {"deadline": "200ms", "fallback": value, "batching": "{max: 1}"}
    with (
        reloadable(root, models, **{f"models__slow__{key}": each for key, each in settings.items()}) as server,
        Stub(server.grpc) as stub,
    ):
        (engine,) = (model.engine for model in server.application.models)
        call = stub.future(request("slow", {"x": ROW}))
        wait_until(lambda: engine.running, "a run in the thread")
        server.reload(models__slow__fallback=None, models__slow__deadline=None)
        response = call.result(30)
        assert parameters(response)["modelward_fallback"] == "deadline"
        assert (arrays(response)["y"] == 7.0).all()
        wait_until(lambda: unloaded(server.application), "the old settings to be let go")


def test_limits_change_under_load_and_debts_stay(tmp_path: Path) -> None:
    def infer(stub: Stub) -> bool:
        with contextlib.suppress(grpc.RpcError):
            stub.infer(request("add", {"x": ROW}))
            return True
        return False

    slowly, fast = '{"rate": "1/m", "burst": 5}', '{"rate": "100000/s", "burst": 10000}'
    with reloadable(tmp_path / "models", {"add": add_one()}, models__add__limit=slowly) as server:
        refused = lambda: server.metric("modelward_refusals_total", model="add", reason="MODEL_LIMIT")  # noqa: E731
        with Stub(server.grpc) as stub:
            for _ in range(6):
                infer(stub)
            assert refused() == 1
            assert server.reload(limits__message_size="1MiB") == ["limits.message_size"]
            infer(stub)
            assert refused() == 2
            server.reload(models__add__limit=fast)
            # the debt is cut to what the new rate allows: one request's time, a hundred thousandth of a second
            wait_until(lambda: infer(stub), "the new rate to admit")
            with under_load(server, infer_add) as clients:
                for rate in ("200000/s", "300000/s", "400000/s"):
                    server.reload(limits__peer=f'{{"rate": "{rate}", "burst": 10000}}')
                    clients.wait_for(CLIENTS)
            server.reload(models__add__limit=None, limits__peer='{"rate": "1/m", "burst": 1}')
            with pytest.raises(grpc.RpcError) as over:
                for _ in range(3):
                    stub.infer(request("add", {"x": ROW}))
            assert over.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_broken_model_is_refused_and_the_others_change(tmp_path: Path) -> None:
    root = tmp_path / "models"
    with reloadable(root, {"add": add_one()}) as server, under_load(server, infer_add) as clients:
        put(root, "broken", 1, b"no model")
        put(root, "add", 2, identity(TensorProto.FLOAT))
        assert server.reload() == ["model add version 2 is new"]
        (refused,) = server.application.refused
        assert (refused.name, refused.version, refused.kept) == ("broken", "1", False)
        assert "this is no ONNX model" in str(refused)
        clients.wait_for(2 * CLIENTS)
        assert server.metric("modelward_reloads_total", result="partial") == 1
        assert server.metric("modelward_last_reload_successful") == 1, "that tells of another cause"
        assert server.metric("modelward_models_refused") == 1
        shutil.rmtree(root / "broken")
        assert server.reload() == []
        assert server.metric("modelward_models_refused") == 0


def test_with_strict_a_broken_model_changes_nothing_of_the_models(tmp_path: Path) -> None:
    root = tmp_path / "models"
    with reloadable(root, {"add": add_one()}, strict=True) as server:
        before = [model.engine for model in server.application.models]
        put(root, "broken", 1, b"no model")
        put(root, "add", 2, identity(TensorProto.FLOAT))
        with pytest.raises(ProblemsFound, match="this is no ONNX model"):
            server.reload(limits__streams=64)
        assert [model.engine for model in server.application.models] == before
        assert server.application.config.limits.streams == 64, "what is not about models is followed"
        assert server.metric("modelward_reloads_total", result="refused") == 1
        assert server.metric("modelward_last_reload_successful") == 0
        assert server.metric("modelward_models_refused") == 0, "one cause, one alert"
        shutil.rmtree(root / "broken")
        assert server.reload() == ["model add version 2 is new"]
        assert server.metric("modelward_last_reload_successful") == 1


def test_what_needs_a_restart_is_said_and_stays(tmp_path: Path) -> None:
    with reloadable(tmp_path / "models", {"add": add_one()}) as server, Stub(server.grpc) as stub:
        changed = server.reload(listen__grpc="127.0.0.1:1", limits__streams=64)
        assert changed == ["limits.streams", "listen.grpc.port needs a restart"]
        infer_add(stub)
        assert server.reload(listen__grpc="127.0.0.1:1") == ["listen.grpc.port needs a restart"]


def test_sighup_reloads_every_worker_of_a_real_server(tmp_path: Path) -> None:
    root = repository(tmp_path / "models", {"add": add_one()})
    with serve_process(root, "--set", "workers=2", "--set", "watch=false") as server:
        with under_load(server, infer_add) as clients:
            for version in (2, 3):
                put(root, "add", version, identity())
                shutil.rmtree(root / "add" / str(version - 1))
                server.process.send_signal(signal.SIGHUP)
                applied = 2 * (version - 1)
                wait_until(lambda n=applied: server.metric("modelward_reloads_total", result="applied") == n, "both")
                clients.wait_for(2 * CLIENTS)
        with Stub(server.grpc) as stub:
            assert stub.infer(request("add", {"x": ROW})).model_version == "3"
        put(root, "broken", 1, b"no model")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: server.metric("modelward_reloads_total", result="partial") == 2, "both workers' refusals")
        with Stub(server.grpc) as stub:
            infer_add(stub)


def test_a_reload_that_fails_by_a_defect_is_in_the_log(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "from modelward.admin.recorded import Recorded\n"
        "async def reload(self, *given):\n    raise LookupError('a defect')\n"
        "Recorded.reload = reload\n"
    )
    root = repository(tmp_path / "models", {"add": add_one()})
    with serve_process(root, environment={"PYTHONPATH": str(tmp_path)}) as server:
        for _ in range(2):
            told = len(server.output)
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda told=told: "LookupError: a defect" in "".join(server.output[told:]), "the log", 20.0)  # type: ignore[misc]
        assert server.terminate() == 0
