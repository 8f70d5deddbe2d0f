"""The cold inference methods as tritonclient sees them."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version as distribution_version
from typing import Any

import grpc
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from modelward.rpc.protocol import message_class
from modelward.server.readiness import Readiness
from tests.proxy.server.adapter import Served


@pytest.fixture
def client(server: Served) -> Iterator[Any]:
    with triton.InferenceServerClient(server.address) as opened:
        yield opened


def test_a_server_is_live_before_it_is_ready(client: Any, server: Served, readiness: Readiness) -> None:
    assert client.is_server_live()
    assert not client.is_server_ready()
    server.on_loop(readiness.set, True)
    assert client.is_server_ready()


def test_a_model_is_ready_when_the_version_asked_for_is_warm(client: Any) -> None:
    assert client.is_model_ready("fraud")
    assert client.is_model_ready("fraud", "2")
    assert not client.is_model_ready("warming")


def test_unknown_models_and_versions_are_not_ready_rather_than_errors(client: Any) -> None:
    assert not client.is_model_ready("nothing")
    assert not client.is_model_ready("fraud", "3")


def test_server_metadata_tells_name_version_and_only_whole_extensions(client: Any) -> None:
    metadata = client.get_server_metadata()
    assert (metadata.name, metadata.version) == ("modelward", distribution_version("modelward"))
    assert list(metadata.extensions) == ["model_configuration", "statistics"]


def test_model_metadata_shows_whole_shapes_with_the_batch_dimension_first(client: Any) -> None:
    metadata = client.get_model_metadata("fraud")
    assert list(metadata.versions) == ["2", "10"]
    assert metadata.platform == "onnxruntime_onnx"
    assert [(t.name, t.datatype, list(t.shape)) for t in metadata.inputs] == [("features", "FP32", [-1, 30])]
    assert [(t.name, list(t.shape)) for t in metadata.outputs] == [("label", [-1]), ("probabilities", [-1, 2])]


def test_model_metadata_of_one_version_lists_that_version(client: Any) -> None:
    assert list(client.get_model_metadata("fraud", "2").versions) == ["2"]


def test_the_configuration_of_a_batchable_model_leaves_out_the_batch_dimension(client: Any) -> None:
    config = client.get_model_config("fraud").config
    assert (config.max_batch_size, config.platform, config.backend) == (256, "onnxruntime_onnx", "onnxruntime")
    assert [(t.name, t.data_type, list(t.dims)) for t in config.input] == [
        ("features", triton.model_config_pb2.TYPE_FP32, [30])
    ]
    assert [list(t.dims) for t in config.output] == [[], [2]]
    assert config.HasField("dynamic_batching")


def test_the_configuration_of_an_unbatchable_model_has_full_dimensions_and_no_batching(client: Any) -> None:
    config = client.get_model_config("text-length").config
    assert config.max_batch_size == 0
    assert [(t.data_type, list(t.dims)) for t in config.input] == [(triton.model_config_pb2.TYPE_STRING, [1])]
    assert [list(t.dims) for t in config.output] == [[]]
    assert not config.HasField("dynamic_batching")


def test_statistics_without_a_name_cover_every_version_of_every_model(client: Any) -> None:
    named = [(s.name, s.version) for s in client.get_inference_statistics().model_stats]
    assert named == [("fraud", "2"), ("fraud", "10"), ("text-length", "1"), ("warming", "1"), ("broken", "1")]


def test_statistics_can_be_narrowed_to_a_model_and_to_a_version(client: Any) -> None:
    assert [s.version for s in client.get_inference_statistics("fraud").model_stats] == ["2", "10"]
    assert [s.version for s in client.get_inference_statistics("fraud", "10").model_stats] == ["10"]


def test_statistics_carry_every_stage_of_the_request_and_of_the_batches(client: Any) -> None:
    (figures,) = client.get_inference_statistics("fraud", "2").model_stats
    stages = figures.inference_stats
    assert (figures.inference_count, figures.execution_count, figures.last_inference) == (12, 5, 1_700_000_000_000)
    assert (stages.queue.count, stages.queue.ns) == (9, 900)
    assert (stages.success.count, stages.success.ns, stages.fail.count, stages.fail.ns) == (9, 9000, 1, 50)
    assert (stages.compute_input.ns, stages.compute_infer.ns, stages.compute_output.ns) == (90, 7000, 80)
    (batch,) = figures.batch_stats
    assert (batch.batch_size, batch.compute_infer.count, batch.compute_infer.ns) == (4, 3, 3000)


def test_the_index_tells_the_state_of_each_version_and_why(client: Any) -> None:
    index = {(m.name, m.version): (m.state, m.reason) for m in client.get_model_repository_index().models}
    assert index[("fraud", "10")] == ("READY", "")
    assert index[("warming", "1")] == ("LOADING", "")
    assert index[("broken", "1")] == ("UNAVAILABLE", "its output 'map' is not a tensor")


def test_the_index_of_ready_models_leaves_out_the_others(channel: grpc.Channel) -> None:
    index = channel.unary_unary(
        "/inference.GRPCInferenceService/RepositoryIndex",
        request_serializer=message_class("inference.RepositoryIndexRequest").SerializeToString,
        response_deserializer=message_class("inference.RepositoryIndexResponse").FromString,
    )(message_class("inference.RepositoryIndexRequest")(ready=True), timeout=10)
    assert [(m.name, m.version) for m in index.models] == [("fraud", "2"), ("fraud", "10"), ("text-length", "1")]


@pytest.mark.parametrize("ask", ["get_model_metadata", "get_model_config", "get_inference_statistics"])
def test_an_unknown_model_is_answered_with_the_names_spelt_nearly_so(client: Any, ask: str) -> None:
    with pytest.raises(InferenceServerException, match="unknown model 'frued': did you mean fraud") as refused:
        getattr(client, ask)("frued")
    assert refused.value.status() == "StatusCode.NOT_FOUND"


@pytest.mark.parametrize("ask", ["get_model_metadata", "get_model_config", "get_inference_statistics"])
def test_an_unknown_version_is_answered_with_the_versions_there_are(client: Any, ask: str) -> None:
    with pytest.raises(InferenceServerException, match="no version '3': there are 2, 10") as refused:
        getattr(client, ask)("fraud", "3")
    assert refused.value.status() == "StatusCode.NOT_FOUND"
