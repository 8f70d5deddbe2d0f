"""Reflection as grpcurl and generic clients use it: ask what there is, build a client from the answer, call with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from modelward.rpc.protocol import message_class
from modelward.server.readiness import Readiness
from tests.proxy.server.adapter import Served

PACKAGES = ("grpc.reflection.v1", "grpc.reflection.v1alpha")
Ask = Callable[..., list[Any]]


@pytest.fixture(params=PACKAGES)
def package(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def ask(channel: grpc.Channel, package: str) -> Ask:
    """Sends questions on one stream and returns the answers."""
    request, response = (message_class(f"{package}.ServerReflection{kind}") for kind in ("Request", "Response"))
    call = channel.stream_stream(
        f"/{package}.ServerReflection/ServerReflectionInfo",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )
    return lambda *questions: list(call((request(**q) for q in questions), timeout=10))


def files_of(answer: Any) -> list[Any]:
    encoded = answer.file_descriptor_response.file_descriptor_proto
    return [descriptor_pb2.FileDescriptorProto.FromString(file) for file in encoded]


def test_services_are_listed(ask: Ask) -> None:
    (answer,) = ask({"list_services": ""})
    assert [s.name for s in answer.list_services_response.service] == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "inference.GRPCInferenceService",
    ]


def test_a_client_built_only_from_reflection_can_call_the_server(
    ask: Ask, channel: grpc.Channel, server: Served, readiness: Readiness
) -> None:
    server.on_loop(readiness.set, True)
    (answer,) = ask({"file_containing_symbol": "inference.GRPCInferenceService"})
    pool = descriptor_pool.DescriptorPool()
    for file in reversed(files_of(answer)):
        pool.Add(file)
    method = pool.FindServiceByName("inference.GRPCInferenceService").methods_by_name["ServerReady"]
    request, response = map(message_factory.GetMessageClass, (method.input_type, method.output_type))
    call = channel.unary_unary(
        "/inference.GRPCInferenceService/ServerReady",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )
    assert call(request(), timeout=10).ready


def test_the_compiled_methods_are_reflected_too(ask: Ask) -> None:
    (answer,) = ask({"file_containing_symbol": "inference.GRPCInferenceService"})
    assert {"ModelInfer", "ModelStreamInfer"} <= {m.name for m in files_of(answer)[0].service[0].method}


@pytest.mark.parametrize(
    "symbol",
    [
        "inference.GRPCInferenceService",
        "inference.GRPCInferenceService.ModelInfer",
        "inference.ModelInferRequest",
        "inference.ModelInferRequest.InferInputTensor",
        "inference.ModelInferRequest.model_name",
    ],
)
def test_a_symbol_is_found_in_its_file_which_comes_first_with_its_dependencies(ask: Ask, symbol: str) -> None:
    (answer,) = ask({"file_containing_symbol": symbol})
    first, *others = files_of(answer)
    assert first.package == "inference"
    assert set(first.dependency) == {file.name for file in others}


def test_a_file_is_found_by_the_name_that_a_dependency_gives_it(ask: Ask) -> None:
    (service,) = ask({"file_containing_symbol": "inference.GRPCInferenceService"})
    dependency = files_of(service)[0].dependency[0]
    (answer,) = ask({"file_by_filename": dependency})
    assert [file.name for file in files_of(answer)] == [dependency]


@pytest.mark.parametrize(
    "question",
    [
        {"file_by_filename": "nothing.proto"},
        {"file_containing_symbol": "inference.Nothing"},
        {"file_containing_symbol": "inference.GRPCInferenceService.Nothing"},
        {"file_containing_symbol": ""},
        {"file_containing_symbol": "."},
        {"file_containing_symbol": "x" * 60_000},
        {"file_containing_extension": {"containing_type": "inference.ModelInferRequest", "extension_number": 100}},
        {"all_extension_numbers_of_type": "inference.ModelInferRequest"},
    ],
    ids=lambda q: f"{next(iter(q))}={str(next(iter(q.values())))[:40]}",
)
def test_what_is_not_there_is_not_found_in_the_answer_and_the_stream_goes_on(ask: Ask, question: Any) -> None:
    refused, answered = ask(question, {"list_services": ""})
    assert refused.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    assert len(refused.error_response.error_message) < 250
    assert answered.WhichOneof("message_response") == "list_services_response"


def test_an_empty_question_is_an_invalid_argument(ask: Ask) -> None:
    (answer,) = ask({"host": "here"})
    assert answer.error_response.error_code == grpc.StatusCode.INVALID_ARGUMENT.value[0]


def test_each_question_comes_back_with_its_answer_in_order(ask: Ask) -> None:
    questions = [{"host": f"h{i}", "file_by_filename": f"{i}.proto"} for i in range(20)]
    answers = ask(*questions)
    assert [a.original_request.file_by_filename for a in answers] == [q["file_by_filename"] for q in questions]
    assert [a.valid_host for a in answers] == [q["host"] for q in questions]
