"""A fallback that gives the very same request the answer that it had before."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from modelward.access import keys
from tests.conftest import Serve
from tests.e2e.messages import REQUEST, RESPONSE, Stub, request
from tests.e2e.test_undecoded import Plain, guarded
from tests.e2e.test_upstreams import INFER, ROW, TIMEOUT, answer, in_front
from tests.models import add_one, repository
from tests.support import EmbeddedServer, ServerProcess, serve_process, wait_until

CHAIN = "[{last_good: {}}, {value: {y: [[0, 0, 0, 0]]}}]"


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[ServerProcess]:
    with serve_process(repository(tmp_path, {"add": add_one()})) as running:
        yield running


def ask(server: EmbeddedServer, row: np.ndarray, id: str) -> Any:
    with grpc.insecure_channel(server.grpc) as channel:
        call = channel.unary_unary(
            INFER,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=RESPONSE.FromString,
        )
        return call(request("add", {"x": row}, id=id), timeout=TIMEOUT)


def lose(server: EmbeddedServer, upstream: ServerProcess) -> None:
    upstream.signal_all(signal.SIGKILL)
    wait_until(lambda: not server.application.upstreams[0].connected, "the loss to be seen")


def test_an_identical_request_has_its_last_good_answer_under_its_own_id(upstream: ServerProcess) -> None:
    with in_front([upstream.grpc], models__add__fallback=CHAIN) as server:
        ask(server, ROW, "first")
        lose(server, upstream)
        again = ask(server, ROW, "second")
        assert answer(again) == [2.0, 3.0, 4.0, 5.0]
        assert again.id == "second"
        assert again.parameters["modelward_fallback_source"].string_param == "last_good"


def test_another_request_goes_on_to_the_next_fallback(upstream: ServerProcess) -> None:
    with in_front([upstream.grpc], models__add__fallback=CHAIN) as server:
        ask(server, ROW, "first")
        lose(server, upstream)
        other = ask(server, ROW + 1, "second")
        assert answer(other) == [0.0, 0.0, 0.0, 0.0]
        assert other.parameters["modelward_fallback_source"].string_param == "value"


def test_an_answer_that_is_too_old_is_none(upstream: ServerProcess) -> None:
    chain = "[{last_good: {max_age: 1ms}}, {value: {y: [[0, 0, 0, 0]]}}]"
    with in_front([upstream.grpc], models__add__fallback=chain) as server:
        ask(server, ROW, "first")
        lose(server, upstream)
        assert answer(ask(server, ROW, "second")) == [0.0, 0.0, 0.0, 0.0]


# ---- what an upstream sees is the key


TENSOR = "datatype: FP32, shape: [-1, 4]"
SIGNATURE = f"{{inputs: [{{name: x, {TENSOR}}}], outputs: [{{name: y, {TENSOR}}}]}}"
Ask = Callable[..., bytes | None]


@contextlib.contextmanager
def failing_later(tmp_path: Path, callers: tuple[str, ...] = (), **settings: Any) -> Iterator[tuple[Ask, list[str]]]:
    """A client of a model whose upstream answers each call with another number, and from `ask.fail()` on with errors.

    `ask` gives what the answer holds, None for an error. The callers' API keys come with it.
    """
    failing, count = threading.Event(), iter(range(1_000_000))

    def infer(message: bytes, context: grpc.ServicerContext) -> bytes:
        if failing.is_set():
            context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
        reply = RESPONSE(model_name="plain", raw_output_contents=[str(next(count)).encode().rjust(16)])
        reply.outputs.add(name="y", datatype="FP32", shape=[1, 4])
        return bytes(reply.SerializeToString())

    made = [keys.make(name) for name in callers]
    file = tmp_path / "keys.json"
    with keys.editing(file) as kept:
        kept.update({key.id: key for key, _ in made})
    if callers:
        settings |= {"access__keys": str(file), "access__rules": "[{identity: '*', models: '*'}]"}
    with guarded(Plain(ModelInfer=infer), **{"fallback": "[{last_good: {}}]"} | settings) as (_, stub):

        def ask(message: Any, *metadata: tuple[str, str]) -> bytes | None:
            try:
                return bytes(stub.infer(message, metadata=metadata).raw_output_contents[0])
            except grpc.RpcError:
                return None

        ask.fail = failing.set  # type: ignore[attr-defined]
        yield ask, [text for _, text in made]


@pytest.mark.parametrize("settings", [{}, {"signature": SIGNATURE}], ids=["undecoded", "decoded"])
def test_an_upstreams_answer_to_one_caller_is_not_given_to_another(tmp_path: Path, settings: dict[str, str]) -> None:
    with failing_later(tmp_path, ("alice", "bob"), **settings) as (ask, (alice, bob)):
        message = request("plain", {"x": ROW})
        first = ask(message, ("x-api-key", alice))
        ask.fail()  # type: ignore[attr-defined]
        assert ask(message, ("x-api-key", alice)) == first is not None
        assert ask(message, ("x-api-key", bob)) is None


def with_parameter(name: str, value: int) -> Any:
    message = request("plain", {"x": ROW})
    message.parameters[name].int64_param = value
    return message


@pytest.mark.parametrize("settings", [{}, {"signature": SIGNATURE}], ids=["undecoded", "decoded"])
def test_an_upstreams_answer_holds_only_for_the_same_parameters_and_metadata(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    with failing_later(tmp_path, **settings) as (ask, _):
        german = ("accept-language", "de")
        warm = with_parameter("temperature", 1)
        warm.id = "first"
        first = ask(warm, german, ("traceparent", "00-1-1-01"), ("x-request-id", "1"))
        ask.fail()  # type: ignore[attr-defined]
        warm.id = "another"
        again = ask(warm, german, ("traceparent", "00-2-2-01"), ("x-request-id", "2"))
        assert again == first is not None, "ids of calls are not what an answer depends on"
        assert ask(with_parameter("temperature", 2), german) is None
        assert ask(warm, ("accept-language", "fr")) is None
        assert ask(warm) is None


@pytest.mark.parametrize("settings", [{}, {"signature": SIGNATURE}], ids=["undecoded", "decoded"])
def test_a_request_of_a_sequence_has_no_last_good_answer(tmp_path: Path, settings: dict[str, str]) -> None:
    with failing_later(tmp_path, **settings) as (ask, _):
        message = with_parameter("sequence_id", 7)
        assert ask(message) is not None
        ask.fail()  # type: ignore[attr-defined]
        assert ask(message) is None


def test_a_request_whose_tensors_are_in_shared_memory_has_no_last_good_answer(tmp_path: Path) -> None:
    with failing_later(tmp_path, passthrough="true") as (ask, _):
        message = REQUEST(model_name="plain")
        tensor = message.inputs.add(name="x", datatype="FP32", shape=[1, 4])
        tensor.parameters["shared_memory_region"].string_param = "r"
        assert ask(message) is not None
        ask.fail()  # type: ignore[attr-defined]
        assert ask(message) is None


def test_what_an_embedded_model_answered_one_caller_is_not_told_to_another_who_guesses(
    serve: Serve, tmp_path: Path
) -> None:
    made = [keys.make(name) for name in ("alice", "bob")]
    with keys.editing(tmp_path / "keys.json") as kept:
        kept.update({key.id: key for key, _ in made})
    server = serve(
        {"add": add_one()},
        access={"keys": str(tmp_path / "keys.json"), "rules": [{"identity": "*", "models": "*"}]},
        models__add__fallback=[{"last_good": {}}],
    )
    with grpc.insecure_channel(server.grpc) as channel:
        call = channel.unary_unary(INFER, REQUEST.SerializeToString, RESPONSE.FromString)
        message = request("add", {"x": ROW})
        good = call(message, timeout=TIMEOUT, metadata=(("x-api-key", made[0][1]),))
        late = request("add", {"x": ROW})
        late.parameters["timeout"].int64_param = 1
        with pytest.raises(grpc.RpcError) as refused:
            call(late, timeout=TIMEOUT, metadata=(("x-api-key", made[1][1]),))
        assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        again = call(late, timeout=TIMEOUT, metadata=(("x-api-key", made[0][1]),))
    assert again.parameters["modelward_fallback_source"].string_param == "last_good"
    assert again.raw_output_contents == good.raw_output_contents


def test_a_caller_who_asks_for_more_and_more_pushes_out_no_other_callers_answer(tmp_path: Path) -> None:
    few = {"fallback": "[{last_good: {entries: 8}}]"}
    with failing_later(tmp_path, ("alice", "bob"), **few) as (ask, (alice, bob)):
        message = request("plain", {"x": ROW})
        first = ask(message, ("x-api-key", alice))
        for number in range(150):
            assert ask(request("plain", {"x": ROW + number}), ("x-api-key", bob)) is not None
        ask.fail()  # type: ignore[attr-defined]
        assert first is not None
        assert ask(message, ("x-api-key", alice)) == first


def test_answers_that_are_kept_take_no_more_memory_than_they_may(serve: Serve) -> None:
    wide = 12_000  # columns: an answer has 48 KB
    server = serve(
        {"add": add_one(columns=wide)}, models__add__fallback=[{"last_good": {"entries": 4096, "memory": "1MiB"}}]
    )
    with Stub(server.grpc) as stub:
        for number in range(60):
            stub.infer(request("add", {"x": np.full((1, wide), number, np.float32)}))
        late = request("add", {"x": np.zeros((1, wide), np.float32)})
        late.parameters["timeout"].int64_param = 1
        assert "modelward_fallback" in stub.infer(late).parameters, "the first is kept"
    (served,) = server.application.models
    assert 2**19 < served.last_good.held <= 2**20
