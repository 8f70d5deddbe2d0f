"""grpc.health.v1 and server reflection with gRPC's own clients."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from modelward.rpc.protocol import message_class
from tests import models
from tests.e2e.messages import INFER, TIMEOUT, raw_of
from tests.support import EmbeddedServer, ServerProcess, serve_process, serving, wait_until

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
SERVICES = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "inference.GRPCInferenceService",
]
V1 = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    with serving(tmp_path_factory.mktemp("health"), {"add": models.add_one()}) as running:
        yield running


@pytest.fixture(scope="module")
def channel(server: EmbeddedServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc) as opened:
        yield opened


@pytest.mark.parametrize("service", ["", *SERVICES])
def test_check_says_serving_for_the_server_and_each_service(channel: grpc.Channel, service: str) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    assert health.Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT).status == SERVING


def test_check_of_a_service_that_is_not_there_is_not_found(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="add"), timeout=TIMEOUT)
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND


def test_watch_tells_the_state_at_once_and_ends_when_the_client_lets_go(
    server: EmbeddedServer, channel: grpc.Channel
) -> None:
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT)
    assert next(watch).status == SERVING
    watch.cancel()
    assert health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT).status == SERVING


@pytest.fixture
def process(tmp_path: Path) -> Iterator[ServerProcess]:
    model = tmp_path / "slow.onnx"
    model.write_bytes(models.slow_loop(50_000))
    with serve_process(model, "--set", "models.slow.batching={max: 1}") as running:
        yield running


def test_a_drain_is_told_to_those_who_watch_while_requests_are_finished(process: ServerProcess) -> None:
    seen: list[int] = []
    with grpc.insecure_channel(process.grpc) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT)
        seen.append(next(watch).status)
        request = message_class("inference.ModelInferRequest")(model_name="slow")
        request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
        request.raw_input_contents.append(raw_of(np.ones((1, 4), np.float32)))
        answer = channel.unary_unary(INFER).future(request.SerializeToString(), timeout=TIMEOUT)
        wait_until(lambda: process.metric("modelward_inflight") == 1, "the request to be under way")
        exit_code: list[int] = []
        ending = threading.Thread(target=lambda: exit_code.append(process.terminate()))
        ending.start()
        seen.append(next(watch).status)
        assert process.page("/readyz")[0] == 503
        assert process.page("/healthz")[0] == 200
        assert answer.code() is grpc.StatusCode.OK
        watch.cancel()
        ending.join(TIMEOUT)
    assert seen == [SERVING, NOT_SERVING]
    assert exit_code == [0]


def test_reflection_v1alpha_describes_the_protocol_well_enough_to_speak_it(channel: grpc.Channel) -> None:
    database = ProtoReflectionDescriptorDatabase(channel)
    assert sorted(database.get_services()) == SERVICES
    pool = DescriptorPool(database)
    method = pool.FindServiceByName("inference.GRPCInferenceService").FindMethodByName("ModelInfer")
    request = GetMessageClass(method.input_type)(model_name="add", id="by reflection")
    request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    request.raw_input_contents.append(raw_of(np.zeros((1, 4), np.float32)))
    answer = channel.unary_unary(INFER)(request.SerializeToString(), timeout=TIMEOUT)
    response = GetMessageClass(method.output_type).FromString(answer)
    assert (response.id, response.raw_output_contents[0]) == ("by reflection", raw_of(np.ones((1, 4), np.float32)))


def test_reflection_v1_answers_as_v1alpha_does(channel: grpc.Channel) -> None:
    def request(package: str, **fields: str) -> bytes:
        made: bytes = message_class(f"grpc.reflection.{package}.ServerReflectionRequest")(**fields).SerializeToString()
        return made

    asked = [
        {"list_services": "*"},
        {"file_containing_symbol": "inference.ModelInferRequest"},
        {"file_by_filename": "inference.proto"},
        {"file_by_filename": "no such file"},
    ]
    newer = channel.stream_stream(V1)(iter([request("v1", **a) for a in asked]), timeout=TIMEOUT)
    older = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
        iter([reflection_pb2.ServerReflectionRequest(**a) for a in asked]), timeout=TIMEOUT
    )
    for new, old in zip(newer, older, strict=True):
        parsed = reflection_pb2.ServerReflectionResponse.FromString(new)
        assert parsed.WhichOneof("message_response") == old.WhichOneof("message_response")
        assert len(parsed.file_descriptor_response.file_descriptor_proto) == len(
            old.file_descriptor_response.file_descriptor_proto
        )
        assert parsed.error_response.error_code == old.error_response.error_code
