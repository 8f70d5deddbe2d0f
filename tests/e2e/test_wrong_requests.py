"""Every wrong request is told what is wrong: status, a message that names the culprit, a reason for programs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import unknown_fields

from tests import models
from tests.e2e.h2client import H2Client, framed
from tests.e2e.messages import INFER, REQUEST, Stub, arrays, refusal, refused, request
from tests.support import EmbeddedServer, serving, wait_until

INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
ROW = np.ones((1, 4), np.float32)
METADATA = "/inference.GRPCInferenceService/ServerMetadata"
INTERNALS = re.compile(r"/|\.py|\.onnx|Traceback|0x[0-9a-f]{4}|onnx ?runtime|nullptr|std::", re.IGNORECASE)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    repository = {
        "add": {1: models.add_one(), 3: models.add_one()},
        "adder": models.add_one(),
        "two": models.two_inputs(),
        "text": models.strings(),
        "half": models.identity(models.TensorProto.FLOAT16),
        "flags": models.identity(models.TensorProto.BOOL),
        "bytes8": models.identity(models.TensorProto.INT8),
        "fixed": models.fixed_batch(),
        "wide": models.identity(models.TensorProto.FLOAT, ("batch", "height", "width")),
    }
    with serving(tmp_path_factory.mktemp("wrong"), repository, limits__message_size="64KiB") as running:
        yield running


@pytest.fixture(scope="module")
def stub(server: EmbeddedServer) -> Iterator[Stub]:
    with Stub(server.grpc) as opened:
        yield opened


def good() -> Any:
    return request("add", {"x": ROW}, id="r1")


def changed(change: Callable[[Any], Any]) -> Any:
    message = good()
    change(message)
    return message


def shaped(*shape: int, raw: bytes = ROW.tobytes(), model: str = "add") -> Any:
    message = request(model, {"x": ROW})
    message.inputs[0].shape[:] = shape
    message.raw_input_contents[0] = raw
    return message


def typed(model: str, datatype: str, shape: tuple[int, ...], name: str = "x", **contents: Any) -> Any:
    message = REQUEST(model_name=model)
    tensor = message.inputs.add(name=name, datatype=datatype, shape=shape)
    for field, values in contents.items():
        getattr(tensor.contents, field).extend(values)
    return message


def mixed() -> Any:
    message = good()
    message.inputs[0].contents.fp32_contents.extend([1.0] * 4)
    return message


WRONG: dict[str, tuple[Any, grpc.StatusCode, str, str]] = {
    "an unknown model": (request("ad", {"x": ROW}), NOT_FOUND, "UNKNOWN_MODEL", "unknown model"),
    "an empty model name": (request("", {"x": ROW}), NOT_FOUND, "UNKNOWN_MODEL", "unknown model"),
    "an unknown version": (
        request("add", {"x": ROW}, version="2"), NOT_FOUND, "UNKNOWN_VERSION", "'add' has no version '2'; it has: 1 3"),
    "a version in words": (request("add", {"x": ROW}, version="latest"), NOT_FOUND, "UNKNOWN_VERSION", "'latest'"),
    "a version cut within a character": (
        request("add", {"x": ROW}, version="v" + "é" * 40), NOT_FOUND, "UNKNOWN_VERSION", "'add' has no version 'vé"),
    "a wrong input name": (
        request("add", {"z": ROW}), INVALID, "INVALID_INPUT", "unknown input 'z'; the model takes: x"),
    "a long and foreign input name": (
        request("add", {"ü" * 500: ROW}), INVALID, "INVALID_INPUT", "unknown input 'üüü"),
    "a wrong datatype": (
        request("add", {"x": ROW.astype(np.float64)}), INVALID, "INVALID_INPUT", "'x'.*'FP64'.*takes FP32"),
    "a datatype that does not exist": (
        changed(lambda m: setattr(m.inputs[0], "datatype", "FLOAT")), INVALID, "INVALID_INPUT", "'x'.*'FLOAT'.*FP32"),
    "no datatype": (
        changed(lambda m: setattr(m.inputs[0], "datatype", "")), INVALID, "INVALID_INPUT", "'x'.*''.*FP32"),
    "a missing dimension": (shaped(4), INVALID, "INVALID_INPUT", r"'x': shape \[4\].*\[-1, 4\]"),
    "one dimension too many": (shaped(1, 1, 4), INVALID, "INVALID_INPUT", r"'x': shape \[1, 1, 4\]"),
    "no shape": (shaped(), INVALID, "INVALID_INPUT", r"'x': shape \[\]"),
    "a wrong size of a fixed dimension": (shaped(1, 5), INVALID, "INVALID_INPUT", r"'x': shape \[1, 5\]"),
    "a negative dimension": (shaped(-1, 4), INVALID, "INVALID_INPUT", r"'x': shape \[-1, 4\].*negative"),
    "the most negative dimension": (shaped(-(2**63), 4), INVALID, "INVALID_INPUT", "'x'.*negative"),
    "dimensions whose product overflows": (
        shaped(2**32, 2**31, 2**33, model="wide"), INVALID, "INVALID_INPUT", "'x'.*overflows"),
    "a dimension whose bytes overflow": (shaped(2**61, 4), INVALID, "INVALID_INPUT", "'x'.*overflows"),
    "dimensions that overflow to the bytes given": (
        shaped(2**62, 4, raw=b""), INVALID, "INVALID_INPUT", "'x'.*overflows"),
    "a world of rows without contents": (
        shaped(2**59, 0, 1, raw=b"", model="wide"), INVALID, "INVALID_INPUT", "'x': shape .* no elements; .* be 1024"),
    "a world of columns without contents": (
        shaped(1, 2**28, 0, raw=b"", model="wide"), INVALID, "INVALID_INPUT", "'x': shape .* no elements; .* be 1024"),
    "dimensions that are large together, without contents": (
        shaped(33, 0, 32, raw=b"", model="wide"), INVALID, "INVALID_INPUT", "'x': shape .* no elements; .* be 1024"),
    "too few bytes": (shaped(1, 4, raw=b"\0" * 15), INVALID, "INVALID_INPUT", "'x': 15 bytes.*need 16"),
    "too many bytes": (shaped(1, 4, raw=b"\0" * 17), INVALID, "INVALID_INPUT", "'x': 17 bytes.*need 16"),
    "rows without bytes": (shaped(10**6, 4), INVALID, "INVALID_INPUT", "'x': 16 bytes.*need 16000000"),
    "raw and typed contents": (mixed(), INVALID, "INVALID_INPUT", "'x'.*raw_input_contents"),
    "no contents at all": (
        changed(lambda m: m.ClearField("raw_input_contents")), INVALID, "INVALID_INPUT", "'x': 0 values.*needs 4"),
    "raw contents without an input": (
        changed(lambda m: m.raw_input_contents.append(b"")), INVALID, "INVALID_INPUT", "2 raw_input_contents for 1"),
    "a missing input": (
        request("two", {"a": np.ones((1, 3), np.float32)}), INVALID, "INVALID_INPUT", "input 'b' is missing"),
    "no inputs": (REQUEST(model_name="add"), INVALID, "INVALID_INPUT", "input 'x' is missing"),
    "an input given twice": (
        changed(lambda m: (m.inputs.append(m.inputs[0]), m.raw_input_contents.append(ROW.tobytes()))),
        INVALID, "INVALID_INPUT", "input 'x' is given twice"),
    "inputs that differ in rows": (
        request("two", {"a": np.ones((2, 3), np.float32), "b": np.ones((1, 2), np.int64)}),
        INVALID, "INVALID_INPUT", "'b' has 1 rows, 'a' has 2"),
    "an unknown output": (
        request("add", {"x": ROW}, outputs=["z"]), INVALID, "INVALID_INPUT", "unknown output 'z'.*y"),
    "an output asked for twice": (
        request("add", {"x": ROW}, outputs=["y", "y"]), INVALID, "INVALID_INPUT", "output 'y' is .*twice"),
    "too few typed values": (
        typed("add", "FP32", (1, 4), fp32_contents=[1.0] * 3), INVALID, "INVALID_INPUT", "'x': 3 values.*needs 4"),
    "typed values of another kind": (
        typed("add", "FP32", (1, 4), fp64_contents=[1.0] * 4), INVALID, "INVALID_INPUT", "'x'.*another datatype"),
    "typed values of two kinds": (
        typed("add", "FP32", (1, 4), fp32_contents=[1.0] * 4, int_contents=[1]), INVALID, "INVALID_INPUT", "'x'"),
    "a typed value beyond its datatype": (
        typed("bytes8", "INT8", (1, 4), int_contents=[1, 2, 3, 128]), INVALID, "INVALID_INPUT", "'x'.*INT8"),
    "typed contents of a datatype without any": (
        typed("half", "FP16", (1, 4), fp32_contents=[1.0] * 4), INVALID, "INVALID_INPUT", "'x'.*raw_input_contents"),
    "a byte that is no bool": (
        changed(lambda m: (setattr(m, "model_name", "flags"), setattr(m.inputs[0], "datatype", "BOOL"),
                           m.raw_input_contents.__setitem__(0, b"\0\1\2\0"))),
        INVALID, "INVALID_INPUT", "'x'.*neither 0 nor 1"),
    "a string longer than its tensor": (
        changed(lambda m: (setattr(m, "model_name", "text"), setattr(m.inputs[0], "name", "text"),
                           setattr(m.inputs[0], "datatype", "BYTES"), m.inputs[0].shape.__setitem__(1, 2),
                           m.raw_input_contents.__setitem__(0, b"\1\0\0\0a\xff\xff\xff\xffb"))),
        INVALID, "INVALID_INPUT", "'text'.*2 elements"),
    "rows that a fixed batch does not have": (
        request("fixed", {"x": ROW}), INVALID, "INVALID_INPUT", r"'x': shape \[1, 4\].*\[2, 4\]"),
    "more dimensions than any model has": (shaped(*[1] * 40), INVALID, "INVALID_INPUT", "dimensions"),
    "a negative timeout": (
        request("add", {"x": ROW}, parameters={"timeout": -1}), INVALID, "INVALID_INPUT", "'timeout'"),
    "a timeout in words": (
        request("add", {"x": ROW}, parameters={"timeout": "soon"}), INVALID, "INVALID_INPUT", "'timeout'"),
    "shared memory": (
        changed(lambda m: setattr(m.inputs[0].parameters["shared_memory_region"], "string_param", "r")),
        grpc.StatusCode.UNIMPLEMENTED, "UNSUPPORTED_FEATURE", "'x': shared memory"),
    "a classification": (
        changed(lambda m: setattr(m.outputs.add(name="y").parameters["classification"], "int64_param", 2)),
        grpc.StatusCode.UNIMPLEMENTED, "UNSUPPORTED_FEATURE", "'y'.*classification"),
    "a message over the limit": (
        request("add", {"x": np.ones((8192, 4), np.float32)}),
        grpc.StatusCode.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE", "65536 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_request_is_refused_for(stub: Stub, what: str) -> None:
    message, code, reason, text = WRONG[what]
    refusal = refused(stub, message)
    assert (refusal.code, refusal.reason, refusal.domain) == (code, reason, "modelward")
    assert re.search(text, refusal.message), refusal.message
    assert not INTERNALS.search(refusal.message), refusal.message
    assert (refusal.retry_seconds, refusal.pushback_ms) == (None, None)
    assert arrays(stub.infer(good()))["y"].tolist() == [[2.0] * 4]  # and nothing else is the worse for it


@pytest.mark.parametrize("what", sorted(set(WRONG) - {"a message over the limit"}))
def test_a_stream_tells_the_same_and_goes_on_after(stub: Stub, what: str) -> None:
    message, _, _, text = WRONG[what]
    message.id = "wrong"
    answers = list(stub.stream([good(), message, good()]))
    assert [answer.error_message == "" for answer in answers] == [True, False, True]
    assert re.search(text, answers[1].error_message)
    assert [answer.infer_response.id for answer in answers] == ["r1", "wrong", "r1"]


@pytest.mark.parametrize("messages", [0, 2])
def test_a_cold_call_of_any_number_of_messages_but_one_is_refused_and_counted(
    server: EmbeddedServer, messages: int
) -> None:
    def counted() -> float:
        return server.metric("modelward_refusals_total", model="_other", reason="REQUEST_CARDINALITY")

    before = counted()
    with H2Client(server.grpc) as client:
        reply = client.call(framed(b"") * messages, path=METADATA)
    assert (reply.code, reply.reason) == (grpc.StatusCode.UNIMPLEMENTED.value[0], "REQUEST_CARDINALITY")
    assert counted() == before + 1


def test_a_misspelt_model_is_told_the_names_near_it(stub: Stub) -> None:
    # names are looked up a hundred times a second at most: beyond that the message is short
    def message() -> str:
        return refused(stub, request("addar", {"x": ROW})).message

    wait_until(lambda: message() == "unknown model 'addar': did you mean adder or add?", "a suggestion")


@pytest.mark.parametrize("method", ["ModelMetadata", "ModelConfig", "ModelStatistics"])
@pytest.mark.parametrize(("name", "version"), [("addd", ""), ("add", "2")])
def test_questions_about_models_that_are_not_there_are_not_found(
    stub: Stub, method: str, name: str, version: str
) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        stub.ask(method, name=name, version=version)
    told = refusal(raised.value)
    assert (told.code, told.reason) == (NOT_FOUND, "UNKNOWN_VERSION" if version else "UNKNOWN_MODEL")
    assert f"'{name}'" in told.message


GARBAGE = {
    "random bytes": bytes(range(255, 0, -1)),
    "a truncated message": good().SerializeToString()[:-3],
    "a length beyond the message": b"\x0a\x7fadd",
    "an endless varint": b"\x08" + b"\xff" * 11,
    "field number zero": b"\x00\x01",
    "an unclosed group": b"\x0b\x08\x01",
    "a name that is not text": b"\x0a\x03ad\xff",
}


@pytest.mark.parametrize("what", GARBAGE)
def test_bytes_that_are_no_request_are_malformed(server: EmbeddedServer, what: str) -> None:
    with H2Client(server.grpc) as client:
        reply = client.call(framed(GARBAGE[what]))
        assert (reply.code, reply.reason) == (3, "MALFORMED_MESSAGE")
        assert reply.message == "the message is not a valid inference.ModelInferRequest"
        assert client.call(framed(good().SerializeToString())).code == 0


def test_an_empty_message_names_no_model(server: EmbeddedServer) -> None:
    with H2Client(server.grpc) as client:
        assert client.call(framed(b"")).reason == "UNKNOWN_MODEL"


def test_fields_of_a_later_protocol_are_passed_over(stub: Stub) -> None:
    future = REQUEST.FromString(good().SerializeToString() + b"\xfa\x3f\x03new")
    assert len(unknown_fields.UnknownFieldSet(future)) == 1
    assert stub.infer(future).id == "r1"


@pytest.mark.parametrize(
    "path", ["/inference.GRPCInferenceService/ModelLoad", "/other.Service/Method", "/", "/a/b/c" * 100, INFER + "x"]
)
def test_an_unknown_method_is_unimplemented(server: EmbeddedServer, path: str) -> None:
    with H2Client(server.grpc) as client:
        reply = client.call(framed(b""), path)
        assert (reply.code, reply.reason) == (12, "UNKNOWN_METHOD")
        assert client.call(framed(good().SerializeToString())).code == 0


def test_an_unknown_model_is_counted_without_its_name(server: EmbeddedServer, stub: Stub) -> None:
    before = server.metric("modelward_refusals_total", model="_other", reason="UNKNOWN_MODEL")
    refused(stub, request("a-name-that-must-not-become-a-label", {"x": ROW}))
    assert server.metric("modelward_refusals_total", model="_other", reason="UNKNOWN_MODEL") == before + 1
    assert "must-not-become" not in server.page("/metrics")[1]
