"""What MLServer does otherwise: versions that are words, typed answers, streams of plain ModelInferResponses."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from tests.e2e.conftest import Peers
from tests.e2e.messages import REQUEST, RESPONSE, STREAM_INFER, TIMEOUT, Stub, refused, request
from tests.e2e.test_other_servers import ROWS, in_front, y_of
from tests.e2e.test_perf_analyzer import ANALYZER, runs
from tests.peers.mlserver import MLSERVER, VERSION
from tests.support import EmbeddedServer


@pytest.fixture
def server(peer: Peers) -> Iterator[EmbeddedServer]:
    with in_front(peer(MLSERVER).address) as running:
        yield running


def streamed(address: str, requests: Iterable[Any]) -> list[Any]:
    """The answers as MLServer's own clients read them."""
    with grpc.insecure_channel(address) as channel:
        call = channel.stream_stream(STREAM_INFER, REQUEST.SerializeToString, RESPONSE.FromString)
        return list(call(iter(requests), timeout=TIMEOUT))


def count(n: int) -> Any:
    return request("repeat", {"x": np.array([[n]], np.int32)}, id="7")


def test_its_versions_are_those_of_its_index(server: EmbeddedServer) -> None:
    """Its metadata lists the versions of the libraries that a model was trained with."""
    with Stub(server.grpc) as stub:
        assert stub.infer(request("add", {"x": ROWS}, version=VERSION)).model_version == VERSION
        assert refused(stub, request("add", {"x": ROWS}, version="sklearn/1.5")).code is grpc.StatusCode.NOT_FOUND


def test_typed_contents_are_answered_in_kind(server: EmbeddedServer) -> None:
    with Stub(server.grpc) as stub:
        typed = stub.infer(request("add", {"x": ROWS}, typed=True))
        raw = stub.infer(request("add", {"x": ROWS}))
    assert not typed.raw_output_contents
    assert raw.raw_output_contents
    assert y_of(typed) == y_of(raw) == (ROWS + 1).tolist()


def test_what_the_guards_say_is_added_to_a_typed_answer(server: EmbeddedServer, peer: Peers) -> None:
    chain = {"models__slow__deadline": "100ms", "models__slow__fallback": "[{model: add}]"}
    with in_front(peer(MLSERVER).address, **chain) as guarded, Stub(guarded.grpc) as stub:
        response = stub.infer(request("slow", {"x": ROWS}, typed=True))
    assert y_of(response) == (ROWS + 1).tolist()
    assert response.parameters["modelward_fallback"].string_param == "deadline"
    assert response.parameters["modelward_fallback_source"].string_param == "model:add"


def test_a_stream_brings_its_answers_as_they_are(server: EmbeddedServer) -> None:
    answers = streamed(server.grpc, [count(3), count(2)])
    values = [np.frombuffer(a.raw_output_contents[0], np.int32).item() for a in answers]
    assert values == [0, 1, 2, 0, 1]
    assert {(a.model_name, a.id) for a in answers} == {("repeat", "7")}


def test_the_configuration_that_it_does_not_tell_says_what_its_metadata_say_and_no_more(server: EmbeddedServer) -> None:
    with Stub(server.grpc) as stub:
        metadata, config = stub.ask("ModelMetadata", name="add"), stub.ask("ModelConfig", name="add").config
    for told, shown in ((metadata.inputs, config.input), (metadata.outputs, config.output)):
        names = {
            data_type.number: data_type.name
            for data_type in shown[0].DESCRIPTOR.fields_by_name["data_type"].enum_type.values
        }
        assert [(t.name, f"TYPE_{t.datatype}", list(t.shape)) for t in told] == [
            (s.name, names[s.data_type], list(s.dims)) for s in shown
        ]
    assert {field.name for field, _ in config.ListFields()} <= {"name", "platform", "input", "output"}
    assert config.platform == metadata.platform


@pytest.mark.skipif(not runs(), reason="perf_analyzer is not installed, or does not run here")
def test_perf_analyzer_finishes_its_report(server: EmbeddedServer, tmp_path: Path) -> None:
    """MLServer has neither ModelConfig nor ModelStatistics, so that it cannot without us."""
    report = tmp_path / "report.csv"
    command = [ANALYZER, "-m", "plain", "-i", "grpc", "-u", server.grpc, "-f", str(report), "--shape", "x:2,4"]
    command += ["-s", "900", "--measurement-mode", "count_windows", "--measurement-request-count", "100"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (row,) = csv.DictReader(report.open())
    assert float(row["Inferences/Second"]) > 0
