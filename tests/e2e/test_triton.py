"""What only Triton has: several versions, optional inputs, decoupled models, batches of its own, perf_analyzer."""

from __future__ import annotations

import csv
import json
import queue
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton

from tests.e2e.conftest import Peers
from tests.e2e.messages import Stub, refused, request
from tests.e2e.test_other_servers import ROWS, in_front, sent_upstream, tensor, y_of
from tests.e2e.test_perf_analyzer import ANALYZER, runs
from tests.peers.triton import TRITON
from tests.support import EmbeddedServer

BY = np.full((2, 4), 10, np.float32)
ANSWER_SECONDS = 20.0

Stream = Callable[..., list[Any]]


@pytest.fixture
def server(peer: Peers) -> Iterator[EmbeddedServer]:
    with in_front(peer(TRITON).address) as running:
        yield running


@pytest.fixture
def stream(server: EmbeddedServer) -> Iterator[Stream]:
    """Sends requests on tritonclient's stream, and returns the next `count` of (id, first element, error)."""
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    with triton.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))

        def of(count: int, *requests: tuple[str, str, np.ndarray]) -> list[Any]:
            for id_, model, array in requests:
                client.async_stream_infer(model, [tensor(array)], request_id=id_)
            return [_plain(*answers.get(timeout=ANSWER_SECONDS)) for _ in range(count)]

        yield of


def _plain(result: Any, error: Any) -> tuple[str, Any]:
    if error is not None:
        return ("error", str(error))
    return (result.get_response().id, result.as_numpy("y").ravel()[0].item())


def count(n: int) -> np.ndarray:
    return np.array([[n]], np.int32)


@pytest.mark.parametrize("version", ["", "1", "2"])
def test_every_version_answers_under_its_own_number(server: EmbeddedServer, version: str) -> None:
    with Stub(server.grpc) as stub:
        response = stub.infer(request("add", {"x": ROWS}, version=version))
        assert (response.model_version, y_of(response)) == (version or "2", (ROWS + 1).tolist())
        refusal = refused(stub, request("add", {"x": ROWS}, version="3"))
        assert refusal.code is grpc.StatusCode.NOT_FOUND
        assert "it has: 1 2" in refusal.message


def test_a_model_that_it_could_not_load_keeps_no_client_from_the_others(server: EmbeddedServer) -> None:
    with Stub(server.grpc) as stub:
        assert refused(stub, request("broken", {"x": ROWS})).code is grpc.StatusCode.NOT_FOUND
        assert y_of(stub.infer(request("add", {"x": ROWS}))) == (ROWS + 1).tolist()


@pytest.mark.parametrize("typed", [False, True], ids=["raw", "typed"])
def test_an_optional_input_may_be_left_out_and_no_other(server: EmbeddedServer, typed: bool) -> None:
    with Stub(server.grpc) as stub:
        assert y_of(stub.infer(request("addend", {"x": ROWS}, typed=typed))) == (ROWS + 1).tolist()
        assert y_of(stub.infer(request("addend", {"by": BY, "x": ROWS}, typed=typed))) == (ROWS + 10).tolist()
        sent = sent_upstream(server)
        assert "'x' is missing" in refused(stub, request("addend", {"by": BY}, typed=typed)).message
        assert "shape" in refused(stub, request("addend", {"x": ROWS, "by": BY[:, :2]}, typed=typed)).message
        assert "rows" in refused(stub, request("addend", {"x": ROWS, "by": BY[:1]}, typed=typed)).message
        assert sent_upstream(server) == sent


def test_a_request_to_a_decoupled_model_has_many_answers(stream: Stream) -> None:
    assert stream(5, ("a", "repeat", count(5))) == [("a", i) for i in range(5)]
    both = stream(7, ("b", "repeat", count(3)), ("c", "repeat", count(4)))
    assert [answer for answer in both if answer[0] == "b"] == [("b", i) for i in range(3)]
    assert [answer for answer in both if answer[0] == "c"] == [("c", i) for i in range(4)]


def test_a_stream_takes_requests_to_several_models_and_goes_on_after_a_wrong_one(stream: Stream) -> None:
    assert stream(1, ("a", "add", ROWS)) == [("a", 2.0)]
    ((kind, message),) = stream(1, ("b", "add", ROWS[:, :3]))
    assert kind == "error"
    assert "shape [2, 3] does not fit" in message
    assert stream(2, ("c", "repeat", count(2))) == [("c", 0), ("c", 1)]


def test_a_decoupled_model_refuses_a_single_request_in_its_own_words(server: EmbeddedServer) -> None:
    with Stub(server.grpc) as stub, pytest.raises(grpc.RpcError) as error:
        stub.infer(request("repeat", {"x": count(1)}))
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "decoupled" in error.value.details()


def test_its_model_configuration_is_told_as_it_is(server: EmbeddedServer, peer: Peers) -> None:
    with Stub(server.grpc) as stub, Stub(peer(TRITON).address) as direct:
        for name, version in TRITON.models:
            ours, theirs = (s.ask("ModelConfig", name=name, version=version) for s in (stub, direct))
            assert ours.SerializeToString(deterministic=True) == theirs.SerializeToString(deterministic=True)


def test_its_statistics_are_told_as_it_tells_them(server: EmbeddedServer, peer: Peers) -> None:
    with Stub(server.grpc) as stub, Stub(peer(TRITON).address) as direct:
        assert y_of(stub.infer(request("twice", {"x": ROWS}))) == (ROWS + 2).tolist()
        for asked in ({}, {"name": "add"}, {"name": "add", "version": "1"}, {"name": "twice"}):
            ours, theirs = (figures(s.ask("ModelStatistics", **asked)) for s in (stub, direct))
            assert ours == theirs
        assert theirs["twice", "1"].inference_count > 0
        with pytest.raises(grpc.RpcError) as error:
            stub.ask("ModelStatistics", name="add", version="3")
        assert error.value.code() is grpc.StatusCode.NOT_FOUND


def figures(answer: Any) -> dict[tuple[str, str], Any]:
    return {(each.name, each.version): each for each in answer.model_stats}


def test_its_index_is_told_with_what_it_could_not_load_and_why(server: EmbeddedServer, peer: Peers) -> None:
    with Stub(server.grpc) as stub, Stub(peer(TRITON).address) as direct:
        ours, theirs = ({m.name: m for m in s.ask("RepositoryIndex").models} for s in (stub, direct))
        broken, as_told = ours["broken"], theirs["broken"]
        assert (broken.version, broken.state) == (as_told.version, as_told.state) == ("1", "UNAVAILABLE")
        assert broken.reason == "Internal: ValueError: it is broken"
        assert as_told.reason.startswith(broken.reason + "\n\nAt:\n  /"), "and clients see no stack"
        assert "broken" not in {m.name for m in stub.ask("RepositoryIndex", ready=True).models}


def test_the_server_has_those_of_its_extensions_that_pass(peer: Peers) -> None:
    """What is HTTP's does not, nor, without passthrough, what needs methods of its own."""
    of_methods = {"model_repository", "model_repository(unload_dependents)", "trace", "logging"}
    of_methods |= {"system_shared_memory", "cuda_shared_memory"}
    with Stub(peer(TRITON).address) as direct:
        theirs = set(direct.ask("ServerMetadata").extensions)
    for passthrough, lacking in (("true", {"binary_tensor_data"}), ("false", {"binary_tensor_data"} | of_methods)):
        with in_front(peer(TRITON).address, passthrough=passthrough) as server, Stub(server.grpc) as stub:
            assert set(stub.ask("ServerMetadata").extensions) == theirs - lacking


@pytest.mark.skipif(not runs(), reason="perf_analyzer is not installed, or does not run here")
@pytest.mark.parametrize(
    "options",
    [["-m", "add", "-b", "4"], ["-m", "repeat", "--streaming"], ["-m", "twice"]],
    ids=["batched", "decoupled", "ensemble"],
)
def test_perf_analyzer_finishes_its_report(server: EmbeddedServer, tmp_path: Path, options: list[str]) -> None:
    report, data = tmp_path / "report.csv", tmp_path / "data.json"
    inputs = [3] if "repeat" in options else [1.0, 2.0, 3.0, 4.0]
    data.write_text(json.dumps({"data": [{"x": inputs}]}))
    command = [ANALYZER, "-i", "grpc", "-u", server.grpc, "-f", str(report), "--input-data", str(data), "-s", "900"]
    command += ["--measurement-mode", "count_windows", "--measurement-request-count", "100", *options]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (row,) = csv.DictReader(report.open())
    assert float(row["Inferences/Second"]) > 0
