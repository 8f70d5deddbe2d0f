"""Canaries held against upstreams: a server that answers otherwise than it did is noticed, and gets no requests."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelward.cli.app import main
from modelward.problem import ProblemsFound
from tests import models
from tests.commands import modelward
from tests.e2e.messages import Stub, arrays, parameters, refused, request
from tests.e2e.model_peer import ModelPeer
from tests.e2e.test_relay import in_front, listening
from tests.support import EmbeddedServer, Reloadable, reloadable, serve_process, serving, wait_until

ROW = np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)
FOUR = ("FP32", [-1, 4])
OFTEN = "100ms"


def adding(number: float) -> bytes:
    """x -> y = x + number."""
    floats = [models.tensor(name, TensorProto.FLOAT, ["batch", 4]) for name in "xy"]
    constant = numpy_helper.from_array(np.full(1, number, np.float32), "c")
    nodes = [helper.make_node("Add", ["x", "c"], ["y"])]
    return models.model(nodes, floats[:1], floats[1:], [constant]).SerializeToString()


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """Of a model that adds 1."""
    file = tmp_path / "canary.npz"
    np.savez(file, **{"input:x": ROW, "output:y": ROW + 1})
    return file


@pytest.fixture
def held(tmp_path: Path) -> Path:
    """Of a model that answers with its input, as ModelPeer does."""
    file = tmp_path / "held.npz"
    np.savez(file, **{"input:x": ROW, "output:y": ROW})
    return file


def canaried(file: Path, interval: str = OFTEN) -> dict[str, str]:
    return {"models__m__canary": json.dumps({"file": str(file), "interval": interval})}


@contextlib.contextmanager
def upstream(folder: Path, number: float, name: str) -> Iterator[Reloadable]:
    """A Modelward that listens on up.sock in the folder."""
    root = folder / name
    with reloadable(root, {"m": adding(number)}, listen__grpc=f"unix:{folder}/up.sock") as server:
        yield server


@contextlib.contextmanager
def before(folder: Path, file: Path, interval: str = OFTEN, **settings: Any) -> Iterator[EmbeddedServer]:
    given = {"models__m__upstreams": f'["unix:{folder}/up.sock"]'} | canaried(file, interval) | settings
    with in_front(**given) as server:
        yield server


def failing(server: EmbeddedServer) -> float:
    return server.metric("modelward_canary_failing", model="m")


def test_a_right_upstream_is_asked_before_its_first_request_and_again(tmp_path: Path, canary: Path) -> None:
    with upstream(tmp_path, 1, "a"), before(tmp_path, canary) as server, Stub(server.grpc) as stub:
        assert server.metric("modelward_canary_runs_total", model="m", result="passed") >= 1
        np.testing.assert_array_equal(arrays(stub.infer(request("m", {"x": ROW})))["y"], ROW + 1)
        passed = lambda: server.metric("modelward_canary_runs_total", model="m", result="passed")  # noqa: E731
        wait_until(lambda: passed() >= 4, "further runs")
        assert failing(server) == server.metric("modelward_upstream_canary_failing") == 0


def test_a_wrong_upstream_gets_no_request_from_the_start_on(
    tmp_path: Path, canary: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with upstream(tmp_path, 2, "a"), before(tmp_path, canary) as server, Stub(server.grpc) as stub:
        assert refused(stub, request("m", {"x": ROW})).reason == "CANARY"
        assert failing(server) == server.metric("modelward_upstream_canary_failing") == 1
        assert not stub.ask("ModelReady", name="m").ready
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert any("fails the canary of model m" in text and "output 'y'" in text for text in told)
    cause = "it answers otherwise: output 'y': 4 of 4 values differ by more than 0.001"
    assert any("model m is out of service" in text and cause in text for text in told)


def test_a_server_that_is_swapped_while_running_gets_no_request(tmp_path: Path, canary: Path) -> None:
    """With an interval of an hour: the new connection is what is noticed."""
    with contextlib.ExitStack() as first:
        first.enter_context(upstream(tmp_path, 1, "a"))
        with before(tmp_path, canary, "1h") as server, Stub(server.grpc) as stub:
            assert arrays(stub.infer(request("m", {"x": ROW})))["y"].tolist() == (ROW + 1).tolist()
            first.close()
            with upstream(tmp_path, 5, "b"):
                wait_until(lambda: failing(server) == 1, "the other server is noticed", 30)
                assert refused(stub, request("m", {"x": ROW})).reason == "CANARY"
            with upstream(tmp_path, 1, "c"):
                wait_until(lambda: failing(server) == 0, "the right server is noticed", 30)
                assert arrays(stub.infer(request("m", {"x": ROW})))["y"].tolist() == (ROW + 1).tolist()


def test_no_answer_of_a_swapped_server_reaches_a_client(tmp_path: Path, canary: Path) -> None:
    """A client asks all the time while the server is another: each answer is right or refused."""
    with contextlib.ExitStack() as first:
        first.enter_context(upstream(tmp_path, 1, "a"))
        with before(tmp_path, canary, "1h") as server, Stub(server.grpc) as stub:
            first.close()
            with upstream(tmp_path, 5, "b"):
                while failing(server) == 0:
                    with contextlib.suppress(grpc.RpcError):
                        assert arrays(stub.infer(request("m", {"x": ROW})))["y"].tolist() == (ROW + 1).tolist()


def test_another_model_on_the_same_server_is_noticed_at_the_interval_and_fallbacks_answer(
    tmp_path: Path, canary: Path
) -> None:
    chain = {"models__m__fallback": '[{"value": {"y": [[7, 7, 7, 7]]}}]'}
    with upstream(tmp_path, 1, "a") as up, before(tmp_path, canary, **chain) as server, Stub(server.grpc) as stub:
        assert arrays(stub.infer(request("m", {"x": ROW})))["y"].tolist() == (ROW + 1).tolist()
        (tmp_path / "a/m/1/model.onnx").write_bytes(adding(3))
        up.reload()
        wait_until(lambda: failing(server) == 1, "the other model is noticed")
        answer = stub.infer(request("m", {"x": ROW}))
        assert arrays(answer)["y"].tolist() == [[7.0] * 4]
        assert parameters(answer)["modelward_fallback"] == "canary"
        (tmp_path / "a/m/1/model.onnx").write_bytes(adding(1))
        up.reload()
        wait_until(lambda: failing(server) == 0, "the right model is noticed")
        assert arrays(stub.infer(request("m", {"x": ROW})))["y"].tolist() == (ROW + 1).tolist()


@contextlib.contextmanager
def two(held: Path, **settings: Any) -> Iterator[tuple[ModelPeer, ModelPeer, EmbeddedServer, Stub]]:
    """Two servers of model m; other is a model of theirs without a canary."""
    peers = [ModelPeer({"m": {"1": FOUR}, "other": {"1": FOUR}}) for _ in range(2)]
    with contextlib.ExitStack() as stack:
        addresses = [stack.enter_context(listening(peer))[0] for peer in peers]
        given = {"upstreams": json.dumps(addresses)} | canaried(held) | settings
        server = stack.enter_context(in_front(**given))
        yield *peers, server, stack.enter_context(Stub(server.grpc))


def wrong(request: Any, context: grpc.ServicerContext) -> Any:
    peer = ModelPeer({"m": {"1": FOUR}, "other": {"1": FOUR}})
    answer = peer.held(request, context)
    raw = np.frombuffer(answer.raw_output_contents[0], np.float32) + 1
    answer.raw_output_contents[0] = raw.tobytes()
    return answer


def test_of_two_endpoints_only_the_wrong_one_is_left_out_and_only_for_its_model(held: Path) -> None:
    with two(held) as (bad, _, server, stub):
        bad.infer = wrong
        wait_until(lambda: server.metric("modelward_upstream_canary_failing") == 1, "the wrong endpoint")
        for _ in range(40):
            assert arrays(stub.infer(request("m", {"x": ROW})))["y"].tolist() == ROW.tolist()
        assert failing(server) == 0, "the model goes on"
        seen = {arrays(stub.infer(request("other", {"x": ROW})))["y"].tolist()[0][0] for _ in range(40)}
        assert seen == {1.0, 2.0}, "other models go to both"
        bad.infer = bad.held
        wait_until(lambda: server.metric("modelward_upstream_canary_failing") == 0, "the endpoint is right again")


def test_where_all_endpoints_are_wrong_none_is_asked_in_a_panic(held: Path) -> None:
    with two(held) as (one, other, server, stub):
        one.infer = other.infer = wrong
        wait_until(lambda: failing(server) == 1, "both are wrong")
        assert refused(stub, request("m", {"x": ROW})).reason == "CANARY"


def refusing(code: grpc.StatusCode) -> Callable[[Any, grpc.ServicerContext], Any]:
    return lambda request, context: context.abort(code, "no")


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    ],
)
def test_an_endpoint_that_was_right_and_does_not_answer_goes_on(
    held: Path, code: grpc.StatusCode, caplog: pytest.LogCaptureFixture
) -> None:
    with two(held) as (one, other, server, _):
        one.infer = other.infer = refusing(code)
        wait_until(
            lambda: sum("does not answer the canary" in r.getMessage() for r in caplog.records) == 2, "both told"
        )
        assert failing(server) == server.metric("modelward_upstream_canary_failing") == 0
        told = [r.getMessage() for r in caplog.records if "does not answer the canary" in r.getMessage()]
        assert len(told) == 2, "once each"
        cause = {
            grpc.StatusCode.PERMISSION_DENIED: "it wants another credential, after 0.",
            grpc.StatusCode.RESOURCE_EXHAUSTED: "it is busy, after 0.",
            grpc.StatusCode.UNAVAILABLE: "it cannot be reached, or is not ready, after 0.",
            grpc.StatusCode.DEADLINE_EXCEEDED: "it timed out, after 0.",
        }[code]
        assert all(cause in text and f" of 30 s ({code.name}" in text for text in told)


def test_an_endpoint_that_refuses_the_recorded_inputs_is_wrong(held: Path) -> None:
    with two(held) as (one, other, server, _):
        one.infer = other.infer = refusing(grpc.StatusCode.INTERNAL)
        wait_until(lambda: failing(server) == 1, "both refuse")


def test_an_endpoint_that_was_never_judged_gets_no_request(held: Path) -> None:
    peer = ModelPeer({"m": {"1": FOUR}})
    peer.infer = refusing(grpc.StatusCode.PERMISSION_DENIED)
    with listening(peer) as (address, _):
        settings = {"models__m__upstreams": f"[{address}]"} | canaried(held)
        with in_front(**settings) as server, Stub(server.grpc) as stub:
            assert refused(stub, request("m", {"x": ROW})).reason == "NO_UPSTREAM"
            peer.infer = peer.held
            wait_until(lambda: stub.ask("ModelReady", name="m").ready, "it answers")
            assert arrays(stub.infer(request("m", {"x": ROW})))["y"].tolist() == ROW.tolist()


def test_the_version_that_has_the_share_is_asked(held: Path) -> None:
    peer = ModelPeer({"m": {"1": FOUR, "2": FOUR}})
    seen: list[str] = []
    peer.infer = lambda asked, context: (seen.append(asked.model_version), peer.held(asked, context))[1]
    settings = {"models__m__versions": "{1: 1}"} | canaried(held)
    with listening(peer) as (address, _), in_front(models__m__upstreams=f"[{address}]", **settings):
        wait_until(lambda: len(seen) >= 3, "canaries")
        assert set(seen) == {"1"}


def test_a_canary_can_be_given_and_taken_away_by_a_reload(held: Path, tmp_path: Path) -> None:
    peer = ModelPeer({"m": {"1": FOUR}})
    peer.infer = wrong
    with listening(peer) as (address, _):
        root = tmp_path / "models"
        settings = {"models__m__upstreams": f"[{address}]"}
        with reloadable(root, {"other": models.add_one()}, **settings) as server, Stub(server.grpc) as stub:
            assert arrays(stub.infer(request("m", {"x": ROW})))["y"].tolist() == (ROW + 1).tolist()
            server.reload(**canaried(held))
            wait_until(lambda: failing(server) == 1, "it is wrong")
            server.reload(models__m__canary=None)
            assert failing(server) == 0
            assert arrays(stub.infer(request("m", {"x": ROW})))["y"].tolist() == (ROW + 1).tolist()


def test_a_reload_that_is_refused_keeps_the_canary(held: Path, tmp_path: Path) -> None:
    peer = ModelPeer({"m": {"1": FOUR}})
    peer.infer = wrong
    with listening(peer) as (address, _):
        settings = {"models__m__upstreams": f"[{address}]"} | canaried(held)
        with (
            reloadable(tmp_path / "models", {"other": models.add_one()}, **settings) as server,
            Stub(server.grpc) as stub,
        ):
            wait_until(lambda: failing(server) == 1, "it is wrong")
            with pytest.raises(ProblemsFound):
                server.reload(models__m__canary=None, models__m__fallback='[{"value": {"z": [[1]]}}]')
            for _ in range(20):
                assert refused(stub, request("m", {"x": ROW})).reason == "CANARY"
            assert failing(server) == 1


def test_check_says_which_upstream_is_wrong(tmp_path: Path, canary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sets = [f'models.m.upstreams=["unix:{tmp_path}/up.sock"]', f"models.m.canary.file={canary}"]
    command = ["check", *(word for each in sets for word in ("--set", each))]
    with upstream(tmp_path, 1, "a"):
        assert main(command) == 0
        assert "canary" not in capsys.readouterr().err
    with upstream(tmp_path, 2, "b"):
        assert main(command) == 0
        assert "the upstream fails the canary of model m" in capsys.readouterr().err


def test_the_trail_and_status_tell_of_it(tmp_path: Path, canary: Path) -> None:
    with upstream(tmp_path, 2, "a"):
        settings = {
            "models.m.upstreams": f'["unix:{tmp_path}/up.sock"]',
            "audit": "{}",
            "state": str(tmp_path / "state"),
        }
        settings |= {"models.m.canary": json.dumps({"file": str(canary), "interval": OFTEN})}
        flags = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        with serve_process(*flags) as server:
            shown = modelward("status", "--admin", server.admin)
            assert "m version 1 fails its canary in 1 worker" in shown.stdout

            def reasons() -> dict[str, str]:
                told = modelward("audit", "query", "--state", tmp_path / "state", "--json")
                records = [json.loads(line) for line in told.stdout.splitlines() if line.startswith("{")]
                return {each["verb"]: each.get("reason", "") for each in records}

            wait_until(lambda: {"canary.failed", "upstream.canary_failed"} <= reasons().keys(), "records of it")
            for verb in ("canary.failed", "upstream.canary_failed"):
                assert "output 'y': 4 of 4 values differ by more than 0.001" in reasons()[verb]
                assert "where" not in reasons()[verb], "no value of a tensor is in the trail"


def test_a_canary_is_recorded_from_a_running_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("rows.npz", x=np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32))
    with serving(tmp_path / "models", {"m": adding(1)}) as server:
        command = ["canary", "record", "m", "--url", server.grpc, "--data", "rows.npz"]
        assert main([*command, "--out", "canary.npz", "--rows", "8", "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert [(t["kind"], t["name"], t["shape"]) for t in facts["tensors"]] == [
            ("input", "x", [8, 4]),
            ("output", "y", [8, 4]),
        ]
        with in_front(models__m__upstreams=f"[{server.grpc}]", **canaried(tmp_path / "canary.npz")) as front:
            assert front.metric("modelward_canary_runs_total", model="m", result="passed") >= 1
        assert main(command) == 2, "without --out"
        assert main(["canary", "record", "none", *command[3:], "--out", "c.npz"]) == 1
        assert "no canary can be recorded" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"input:x": ROW}, "expects no output"),
        ({"input:x": ROW[:, :2], "output:y": ROW}, "has shape"),
        ({"input:z": ROW, "output:y": ROW}, "nothing for its array"),
    ],
)
def test_a_canary_that_does_not_fit_the_model_is_a_problem(tmp_path: Path, arrays: dict[str, Any], told: str) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)
    with (
        listening(ModelPeer({"m": {"1": FOUR}})) as (address, _),
        pytest.raises(ProblemsFound, match=told),
        in_front(models__m__upstreams=f"[{address}]", **canaried(tmp_path / "bad.npz")),
    ):
        pass


def test_a_canary_without_upstreams_or_without_a_file_is_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = models.repository(tmp_path / "models", {"m": models.add_one()})
    assert main(["check", str(root), "--set", "models.m.canary.file=x.npz"]) == 1
    assert "models.m.canary.file is set and there are no upstreams" in capsys.readouterr().err
    both = ["--set", "models.m.canary.file=x.npz", "--set", "upstreams=[127.0.0.1:1]", "--offline"]
    main(["check", str(root), *both])
    assert "canary.file is set and the model runs here" in capsys.readouterr().err
    sets = ["--set", "models.m.upstreams=[127.0.0.1:1]", "--set", "models.m.canary.interval=1s"]
    assert main(["check", "--offline", *sets]) == 1
    assert "canary.interval is set and the model has upstreams" in capsys.readouterr().err
