"""tritonclient, unchanged: sync and asyncio."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

from tests import models
from tests.e2e.messages import TIMEOUT
from tests.support import EmbeddedServer, serving

LOOPS_FOR_LONG = 30_000  # 150 ms or more


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    repository = {
        "mlp": {1: models.mlp(seed=1), 2: models.mlp(seed=2)},
        "text": models.strings(),
        "two": models.two_inputs(),
        "slow": models.slow_loop(LOOPS_FOR_LONG),
    }
    with serving(tmp_path_factory.mktemp("triton"), repository, models__slow__batching="{max: 1}") as running:
        yield running


@pytest.fixture(scope="module")
def client(server: EmbeddedServer) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.grpc) as opened:
        yield opened


def tensor(name: str, array: Any, datatype: str) -> triton.InferInput:
    made = triton.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


def features(rows: int = 1, seed: int = 0) -> list[triton.InferInput]:
    array = np.random.default_rng(seed).normal(size=(rows, 30)).astype(np.float32)
    return [tensor("input", array, "FP32")]


def test_the_server_says_that_it_lives_and_is_ready(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()


def test_a_served_model_is_ready_and_any_other_is_not(client: triton.InferenceServerClient) -> None:
    assert client.is_model_ready("mlp")
    assert client.is_model_ready("mlp", "1")
    assert not client.is_model_ready("mlp", "3")
    assert not client.is_model_ready("nobody")


def test_metadata_names_the_server_its_models_and_their_tensors(client: triton.InferenceServerClient) -> None:
    assert client.get_server_metadata().name == "modelward"
    metadata = client.get_model_metadata("mlp")
    assert list(metadata.versions) == ["1", "2"]
    assert metadata.platform == "onnxruntime_onnx"
    assert [(t.name, t.datatype, list(t.shape)) for t in metadata.inputs] == [("input", "FP32", [-1, 30])]
    assert [(t.name, t.datatype, list(t.shape)) for t in metadata.outputs] == [
        ("label", "INT64", [-1]),
        ("probabilities", "FP32", [-1, 2]),
    ]


def test_the_configuration_tells_how_a_model_is_batched(client: triton.InferenceServerClient) -> None:
    config = client.get_model_config("mlp").config
    assert (config.name, config.max_batch_size) == ("mlp", 256)
    assert [(i.name, list(i.dims)) for i in config.input] == [("input", [30])]


def test_the_repository_index_lists_every_version(client: triton.InferenceServerClient) -> None:
    index = {(m.name, m.version, m.state) for m in client.get_model_repository_index().models}
    assert index == {(name, version, "READY") for name, version in
                     (("mlp", "1"), ("mlp", "2"), ("slow", "1"), ("text", "1"), ("two", "1"))}  # fmt: skip


def test_statistics_count_requests_and_rows(client: triton.InferenceServerClient) -> None:
    def seen() -> tuple[int, int]:
        (statistics,) = client.get_inference_statistics("mlp", "1").model_stats
        return statistics.inference_count, statistics.inference_stats.success.count

    rows, requests = seen()
    client.infer("mlp", features(rows=3), "1")
    assert seen() == (rows + 3, requests + 1)


def test_an_answer_has_the_request_id_and_the_version_that_gave_it(client: triton.InferenceServerClient) -> None:
    for asked, given in (("", "2"), ("1", "1"), ("2", "2")):
        response = client.infer("mlp", features(), asked, request_id="abc-1").get_response()
        assert (response.id, response.model_name, response.model_version) == ("abc-1", "mlp", given)


def test_versions_are_different_models(client: triton.InferenceServerClient) -> None:
    first, second = (client.infer("mlp", features(4), v).as_numpy("probabilities") for v in ("1", "2"))
    assert first.shape == second.shape == (4, 2)
    assert not np.allclose(first, second)
    np.testing.assert_allclose(first.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    "names", [["label"], ["probabilities"], ["probabilities", "label"], ["label", "probabilities"]]
)
def test_the_outputs_asked_for_come_in_the_order_asked(client: triton.InferenceServerClient, names: list[str]) -> None:
    wanted = [triton.InferRequestedOutput(name) for name in names]
    response = client.infer("mlp", features(), outputs=wanted).get_response()
    assert [output.name for output in response.outputs] == names


def test_strings_travel_both_ways(client: triton.InferenceServerClient) -> None:
    text = np.array([[b"", b"na\xc3\xafve"], [b"\xf0\x9f\x8c\x8d", b"x" * 1000]], object)
    answer = client.infer("text", [tensor("text", text, "BYTES")]).as_numpy("echo")
    assert answer.tolist() == text.tolist()


def test_several_inputs_and_outputs_of_several_datatypes(client: triton.InferenceServerClient) -> None:
    a, b = np.array([[1, 2, 3], [4, 5, 6]], np.float32), np.array([[7, -8], [9, 10]], np.int64)
    answer = client.infer("two", [tensor("b", b, "INT64"), tensor("a", a, "FP32")])
    np.testing.assert_array_equal(answer.as_numpy("total"), [[5.0], [34.0]])
    np.testing.assert_array_equal(answer.as_numpy("negated"), -b)


def test_asynchronous_calls_answer_each_with_its_own_rows(client: triton.InferenceServerClient) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    for i in range(50):
        client.async_infer(
            "mlp", features(seed=i), callback=lambda result, error: answers.put((result, error)), request_id=str(i)
        )
    for _ in range(50):
        result, error = answers.get(timeout=TIMEOUT)
        assert error is None
        expected = client.infer("mlp", features(seed=int(result.get_response().id)))
        np.testing.assert_allclose(result.as_numpy("probabilities"), expected.as_numpy("probabilities"), rtol=1e-4)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate", None])
def test_gzip_and_deflate_are_understood(client: triton.InferenceServerClient, algorithm: str | None) -> None:
    rows = np.zeros((200, 30), np.float32)
    answer = client.infer("mlp", [tensor("input", rows, "FP32")], compression_algorithm=algorithm)
    assert answer.as_numpy("probabilities").shape == (200, 2)


def test_a_client_timeout_ends_the_call_in_time(client: triton.InferenceServerClient) -> None:
    row = np.ones((1, 4), np.float32)
    with pytest.raises(InferenceServerException, match=r"(?i)deadline exceeded"):
        client.infer("slow", [tensor("x", row, "FP32")], client_timeout=0.05)


def test_the_timeout_parameter_is_a_deadline_in_microseconds(client: triton.InferenceServerClient) -> None:
    row = np.ones((1, 4), np.float32)
    with pytest.raises(InferenceServerException, match="deadline exceeded after"):
        client.infer("slow", [tensor("x", row, "FP32")], timeout=50_000, client_timeout=TIMEOUT)


def test_an_error_tells_the_client_what_is_wrong(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="unknown model") as raised:
        client.infer("mpl", features())
    assert raised.value.status() == "StatusCode.NOT_FOUND"


def test_a_stream_answers_in_order_and_an_error_does_not_end_it(server: EmbeddedServer) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    with triton.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for i in range(20):
            client.async_stream_infer("mlp" if i % 5 else "mpl", features(), request_id=str(i))
        received = [answers.get(timeout=TIMEOUT) for _ in range(20)]
        client.stop_stream()
    for i, (result, error) in enumerate(received):
        if i % 5:
            assert error is None
            assert result.get_response().id == str(i)
        else:
            assert "unknown model" in str(error)


def test_a_stream_with_parameters_and_chosen_outputs(server: EmbeddedServer) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    with triton.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: answers.put((result, error)), compression_algorithm="gzip")
        wanted = [triton.InferRequestedOutput("label")]
        client.async_stream_infer("mlp", features(7), outputs=wanted, parameters={"mine": "kept to myself"}, priority=1)
        result, error = answers.get(timeout=TIMEOUT)
        client.stop_stream()
    assert error is None
    assert [output.name for output in result.get_response().outputs] == ["label"]
    assert result.as_numpy("label").shape == (7,)


def test_the_asyncio_client_infers_streams_and_asks(server: EmbeddedServer) -> None:
    async def requests() -> AsyncIterator[dict[str, Any]]:
        for i in range(10):
            yield {"model_name": "mlp" if i != 3 else "mpl", "inputs": features(), "request_id": str(i)}

    async def main() -> None:
        async with triton_aio.InferenceServerClient(server.grpc) as client:
            assert await client.is_server_live()
            assert await client.is_server_ready()
            assert await client.is_model_ready("mlp", "2")
            assert (await client.get_model_metadata("two")).name == "two"
            assert (await client.get_model_config("two")).config.name == "two"
            assert len((await client.get_inference_statistics()).model_stats) == 5
            assert len((await client.get_model_repository_index()).models) == 5
            answers = await asyncio.gather(
                *(
                    client.infer("mlp", features(seed=i), request_id=str(i), compression_algorithm="gzip")
                    for i in range(30)
                )
            )
            assert [answer.get_response().id for answer in answers] == [str(i) for i in range(30)]
            with pytest.raises(InferenceServerException, match="no version '9'"):
                await client.infer("mlp", features(), model_version="9")
            seen = [item async for item in client.stream_infer(requests())]
            assert [error is None for _, error in seen] == [i != 3 for i in range(10)]
            assert [result.get_response().id for result, error in seen if error is None] == list("012456789")

    asyncio.run(asyncio.wait_for(main(), 30))


def test_calls_of_tritons_that_are_not_served_say_so(client: triton.InferenceServerClient) -> None:
    for call in (
        client.get_system_shared_memory_status,
        client.get_trace_settings,
        client.get_log_settings,
        lambda: client.load_model("mlp"),
        lambda: client.unload_model("mlp"),
    ):
        with pytest.raises(InferenceServerException) as raised:
            call()
        assert raised.value.status() == "StatusCode.UNIMPLEMENTED"


def test_shared_memory_is_refused_rather_than_ignored(client: triton.InferenceServerClient) -> None:
    shared = triton.InferInput("input", [1, 30], "FP32")
    shared.set_shared_memory("region", 120)
    with pytest.raises(InferenceServerException, match="shared memory is not supported"):
        client.infer("mlp", [shared])
