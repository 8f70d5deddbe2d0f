"""What is asked of real gRPC servers that list and describe their models in one way or another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from modelward.config.upstream import UpstreamAddress, parse_upstream
from modelward.rpc.protocol import INFERENCE_SERVICE, message_class
from modelward.upstream.discovery import NotYet
from modelward.upstream.metadata import describe, models_of


class Describing(grpc.GenericRpcHandler):
    """Has the methods that it is given, each with what it answers to a request."""

    def __init__(self, **methods: Any) -> None:
        self._methods = {f"/{INFERENCE_SERVICE}/{name}": (name, answer) for name, answer in methods.items()}

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if details.method not in self._methods:
            return None
        name, answer = self._methods[details.method]
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: answer(request),
            request_deserializer=message_class(f"inference.{name}Request").FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )


@contextlib.contextmanager
def upstream(**methods: Any) -> Iterator[UpstreamAddress]:
    server = grpc.server(ThreadPoolExecutor(2), handlers=[Describing(**methods)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield parse_upstream(f"127.0.0.1:{port}")
    finally:
        server.stop(None).wait()


def index(*models: tuple[str, str, str]) -> Any:
    """RepositoryIndex of (name, version, state); only what is ready where that is asked for, as all servers do."""

    def answer(request: Any) -> Any:
        response = message_class("inference.RepositoryIndexResponse")()
        for name, version, state in models:
            if not request.ready or state.endswith("READY"):
                response.models.add(name=name, version=version, state=state)
        return response

    return answer


def metadata(*versions: str) -> Any:
    """ModelMetadata with the versions given, and an input called after the version that is asked for."""

    def answer(request: Any) -> Any:
        response = message_class("inference.ModelMetadataResponse")(name=request.name, versions=versions)
        response.inputs.add(name=f"x{request.version}", datatype="FP32", shape=[-1, 4])
        response.outputs.add(name="y", datatype="FP32", shape=[-1, 4])
        return response

    return answer


def config(request: Any) -> Any:
    response = message_class("inference.ModelConfigResponse")()
    response.config.input.add(name="x", optional=True)
    response.config.input.add(name="z")
    return response


def test_models_that_are_ready_or_loading_are_listed_and_broken_ones_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = [("a", "2", "UNAVAILABLE"), ("c", "1", "UNAVAILABLE"), ("d", "", "")]
    models = [("a", "1", "READY"), ("b", "", "LOADING"), *broken]
    with upstream(RepositoryIndex=index(*models)) as address:
        assert asyncio.run(models_of(address)) == ["a", "b"]
    assert [record.args[1] for record in caplog.records if isinstance(record.args, tuple)] == ["c", "d"]


def test_a_model_of_an_upstream_whose_name_has_no_room_behind_a_request_is_told_and_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with upstream(RepositoryIndex=index(("a", "1", "READY"), ("é" * 65, "1", "READY"))) as address:
        assert asyncio.run(models_of(address)) == ["a"]
    assert "128 bytes" in caplog.text


def test_mlservers_words_for_the_states_are_understood() -> None:
    models = [("a", "", "State.READY"), ("b", "", "State.UNKNOWN"), ("c", "", "State.UNAVAILABLE")]
    with upstream(RepositoryIndex=index(*models)) as address:
        assert asyncio.run(models_of(address)) == ["a", "b"]


@pytest.mark.parametrize(
    ("models", "told"), [([], "none is ready"), ([("a", "", "UNAVAILABLE")], "none is ready of 1")]
)
def test_a_server_with_no_model_to_serve_is_asked_again(models: list[tuple[str, str, str]], told: str) -> None:
    with upstream(RepositoryIndex=index(*models)) as address, pytest.raises(NotYet, match=f"^{told}$"):
        asyncio.run(models_of(address))


def test_every_version_that_is_ready_is_described_by_itself() -> None:
    models = [("a", "10", "READY"), ("a", "9", "READY"), ("a", "11", "LOADING"), ("b", "1", "READY")]
    with upstream(RepositoryIndex=index(*models), ModelMetadata=metadata("9", "10")) as address:
        described = asyncio.run(describe(address, "a"))
    assert [(d.version, d.inputs[0].name) for d in described] == [("9", "x9"), ("10", "x10")]


def test_versions_of_the_metadata_count_only_where_there_is_no_index() -> None:
    with upstream(RepositoryIndex=index(("a", "", "State.READY")), ModelMetadata=metadata("sklearn/1.5")) as address:
        assert [d.version for d in asyncio.run(describe(address, "a"))] == [""]
    with upstream(ModelMetadata=metadata("1", "2")) as address:
        assert [d.version for d in asyncio.run(describe(address, "a"))] == ["1", "2"]


def test_optional_inputs_are_known_from_the_configuration_where_there_is_one() -> None:
    with upstream(ModelMetadata=metadata("1"), ModelConfig=config) as address:
        assert asyncio.run(describe(address, "a"))[0].optional == {"x"}
    with upstream(ModelMetadata=metadata("1")) as address:
        (described,) = asyncio.run(describe(address, "a"))
        assert (described.optional, described.config) == (frozenset(), None)
