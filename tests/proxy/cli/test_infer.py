"""`modelward infer` against a real gRPC server on loopback."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trustme

from modelward.cli.app import main
from modelward.cli.infer import add_arguments, run
from modelward.rpc.call import Call, Method
from modelward.rpc.protocol import Code, Message, RpcError, message_class
from modelward.server.methods import OPEN, Dispatcher, build
from modelward.server.readiness import Readiness
from tests import models
from tests.certificates import write_pair
from tests.proxy.server.adapter import Served, served
from tests.proxy.server.catalogs import catalog

REQUEST, RESPONSE = (message_class(f"inference.ModelInfer{kind}") for kind in ("Request", "Response"))
ROW = json.dumps([0.5] * 30)


class Backend:
    """Answers ModelInfer with `response`, or fails with it; remembers the request. None never answers."""

    def __init__(self) -> None:
        self.request: Any = None
        self.response: Any = RESPONSE(model_name="fraud", model_version="10")
        self.response.outputs.add(name="label", datatype="INT64", shape=[1])
        self.response.outputs.add(name="probabilities", datatype="FP32", shape=[1, 2])
        self.response.raw_output_contents.extend(
            [np.array([1], "<i8").tobytes(), np.array([0.25, 0.75], "<f4").tobytes()]
        )

    async def infer(self, request: Message, call: Call) -> Message:
        self.request = request
        if self.response is None:
            await asyncio.get_running_loop().create_future()
        if isinstance(self.response, RpcError):
            raise self.response
        return self.response


@pytest.fixture
def backend() -> Backend:
    return Backend()


@pytest.fixture
def server(backend: Backend) -> Iterator[Served]:
    methods = build(catalog, Readiness())
    methods[b"/inference.GRPCInferenceService/ModelInfer"] = Method(
        "inference.GRPCInferenceService", "ModelInfer", False, False, backend.infer, OPEN
    )
    with served(Dispatcher(methods)) as running:
        yield running


def infer(*arguments: str) -> int:
    parser = argparse.ArgumentParser(prog="modelward infer")
    add_arguments(parser)
    return run(parser.parse_args(arguments))


def test_a_row_is_sent_as_a_batch_of_one_in_the_models_datatype(server: Served, backend: Backend) -> None:
    assert infer("fraud", "--url", server.address, "--input", f"features={ROW}") == 0
    (tensor,) = backend.request.inputs
    assert (backend.request.model_name, backend.request.model_version) == ("fraud", "")
    assert (tensor.name, tensor.datatype, list(tensor.shape)) == ("features", "FP32", [1, 30])
    assert backend.request.raw_input_contents[0] == np.full(30, 0.5, "<f4").tobytes()


def test_the_version_asked_for_is_the_version_inferred(server: Served, backend: Backend) -> None:
    assert infer("fraud", "--url", server.address, "--version", "2", "--input", f"features={ROW}") == 0
    assert backend.request.model_version == "2"


def test_a_batch_from_a_file_is_sent_as_it_is(server: Served, backend: Backend, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.zeros((3, 30)))
    assert infer("fraud", "--url", server.address, "--input", f"features=@{tmp_path / 'rows.npy'}") == 0
    assert list(backend.request.inputs[0].shape) == [3, 30]


def test_a_word_is_a_string_input_and_may_contain_an_equals_sign(server: Served, backend: Backend) -> None:
    assert infer("text-length", "--url", server.address, "--input", "text=a=b") == 0
    assert backend.request.raw_input_contents[0] == b"\3\0\0\0a=b"


def test_the_table_shows_outputs_and_what_modelward_says_of_them(
    server: Served, backend: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    backend.response.parameters["modelward_fallback"].string_param = "deadline"
    backend.response.parameters["modelward_anomaly_score"].double_param = 0.125
    backend.response.parameters["modelward_anomaly"].bool_param = True
    assert infer("fraud", "--url", server.address, "--input", f"features={ROW}") == 0
    shown = capsys.readouterr().out
    lines = [" ".join(line.replace("│", " ").split()) for line in shown.splitlines()]
    assert "fraud version 10" in lines
    assert "label INT64 [1] [1]" in lines
    assert "probabilities FP32 [1, 2] [[0.25, 0.75]]" in lines
    assert "modelward_fallback deadline" in lines
    assert "modelward_anomaly_score 0.125" in lines
    assert "modelward_anomaly True" in lines


def test_json_is_one_object_with_everything(
    server: Served, backend: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    backend.response.parameters["modelward_anomaly"].bool_param = False
    assert infer("fraud", "--json", "--url", server.address, "--input", f"features={ROW}") == 0
    assert json.loads(capsys.readouterr().out) == {
        "model_name": "fraud",
        "model_version": "10",
        "parameters": {"modelward_anomaly": False},
        "outputs": [
            {"name": "label", "datatype": "INT64", "shape": [1], "data": [1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [1, 2], "data": [[0.25, 0.75]]},
        ],
    }


def test_text_of_the_servers_is_not_read_as_markup(
    server: Served, backend: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    backend.response = RESPONSE(model_name="[red]m[/nothing]")
    backend.response.outputs.add(name="[bold]", datatype="BYTES", shape=[1])
    backend.response.outputs[0].contents.bytes_contents.append(b"[/]")
    assert infer("fraud", "--url", server.address, "--input", f"features={ROW}") == 0
    shown = capsys.readouterr().out
    assert "[red]m[/nothing]" in shown
    assert "[bold]" in shown
    assert "['[/]']" in shown


def test_the_servers_error_is_shown_with_its_code_and_message(
    server: Served, backend: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    backend.response = RpcError(Code.RESOURCE_EXHAUSTED, "over the limit of 10/s; retry in 100 ms")
    assert infer("fraud", "--url", server.address, "--input", f"features={ROW}") == 1
    assert capsys.readouterr().err == "RESOURCE_EXHAUSTED: over the limit of 10/s; retry in 100 ms\n"


def test_an_unknown_model_is_the_servers_error(server: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert infer("frued", "--url", server.address, "--input", "x=1") == 1
    assert capsys.readouterr().err.startswith("NOT_FOUND: unknown model 'frued': did you mean fraud")


def test_no_server_at_all_is_an_error_of_the_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert infer("fraud", "--url", f"unix:{tmp_path}/none.sock", "--input", "x=1") == 1
    assert capsys.readouterr().err.startswith("UNAVAILABLE: ")


def test_a_server_that_does_not_answer_is_given_up_at_the_timeout(
    server: Served, backend: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    backend.response = None
    assert infer("fraud", "--timeout", "500ms", "--url", server.address, "--input", f"features={ROW}") == 1
    assert capsys.readouterr().err.startswith("DEADLINE_EXCEEDED: ")


def test_an_answer_that_contradicts_itself_is_the_servers_fault(
    server: Served, backend: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    backend.response.outputs[1].shape[1] = 3
    assert infer("fraud", "--url", server.address, "--input", f"features={ROW}") == 1
    assert "the server sent 8 bytes as FP32 [1, 3]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input", "features"], "is not NAME=VALUE"),
        (["--input", "=1"], "is not NAME=VALUE"),
        (["--input", "features=1", "--input", "features=2"], "an input is given twice"),
        (["--input", "feature=1"], "no input is named feature; fraud takes features FP32 [-1, 30]"),
        ([], "--input is missing for features; fraud takes features FP32 [-1, 30]"),
        (["--input", "features=hello"], "--input features: 'hello' is not JSON"),
        (["--input", "features=@none.npy"], "--input features: none.npy cannot be read"),
        (["--timeout", "2 parsecs", "--input", "features=1"], "is not a duration"),
    ],
)
def test_a_command_that_makes_no_sense_is_wrong_usage_and_infers_nothing(
    server: Served, backend: Backend, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert infer("fraud", "--url", server.address, *arguments) == 2
    assert message in capsys.readouterr().err
    assert backend.request is None


def test_a_models_file_is_served_for_the_one_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "div.onnx"
    file.write_bytes(models.dividing())
    assert infer(str(file), "--input", "a=[12, 8]", "--input", "b=[-3, 2]", "--json") == 0
    (output,) = json.loads(capsys.readouterr().out)["outputs"]
    assert (output["name"], output["data"]) == ("y", [[-4, 4]])
    assert infer(str(file), "--input", "a=[12]", "--input", "b=[0]") == 1
    assert "INTERNAL: " in capsys.readouterr().err


def test_a_request_that_ends_the_process_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "div.onnx"
    file.write_bytes(models.dividing())
    assert infer(str(file), "--input", f"a=[{-(2**63)}]", "--input", "b=[-1]") == 1
    assert "does not survive the model or the request: it was killed by SIGFPE" in capsys.readouterr().err


def test_a_url_is_no_address_of_grpc(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["infer", "fraud", "--input", "x=1", "--url", "http://127.0.0.1:8001"]) == 2
    assert "leave http:// out, 127.0.0.1:8001" in capsys.readouterr().err


def test_a_certificate_and_a_key_that_do_not_match_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = (write_pair(trustme.CA().issue_cert("localhost"), tmp_path, name) for name in ("one", "other"))
    pair = ("--certificate", str(one.certificate), "--key", str(other.key))
    assert main(["infer", "fraud", "--input", "x=1", "--tls", *pair]) == 2
    assert "--key does not match --certificate" in capsys.readouterr().err
