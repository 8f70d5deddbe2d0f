"""Metadata of an upstream's answers, before and after them: the client sees it as if nothing lay between."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from tests.e2e.messages import INFER, REQUEST, RESPONSE, STREAM_INFER, Stub, request
from tests.e2e.model_peer import ModelPeer
from tests.e2e.raw_upstream import Request, answer_message, raw_upstream
from tests.e2e.test_relay import in_front, listening
from tests.e2e.test_upstream_changes import FOUR, changing

ROW = np.ones((1, 4), np.float32)
OURS = ("modelward-fallback", "modelward-anomaly-score", "modelward-identity")
INITIAL = (("x-served-by", "gpu 7"), ("x-blob-bin", b"\0\1"), ("x-served-by", "again"), (OURS[0], "forged"))
TRAILING = (("x-cost", "12"), (OURS[1], "9"), ("grpc-retry-pushback-ms", "5"))
SEEN_INITIAL = [("x-served-by", "gpu 7"), ("x-blob-bin", b"\0\1"), ("x-served-by", "again")]
SEEN_TRAILING = [("x-cost", "12")]


def generous(peer: ModelPeer, *, code: grpc.StatusCode = grpc.StatusCode.OK) -> ModelPeer:
    def infer(message: Any, context: grpc.ServicerContext) -> Any:
        context.send_initial_metadata(INITIAL)
        context.set_trailing_metadata(TRAILING)
        if code is not grpc.StatusCode.OK:
            context.abort(code, "as told")
        return peer.held(message, context)

    peer.infer = infer
    return peer


def of(metadata: Any) -> list[tuple[str, str | bytes]]:
    """Without what gRPC itself adds."""
    return [(key, value) for key, value in metadata if not key.startswith(("grpc-", "user-agent", "content-type"))]


@contextlib.contextmanager
def raw(behave: Any) -> Iterator[Stub]:
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(raw_upstream(behave))
        server = stack.enter_context(in_front(models__add__upstreams=f"[{upstream.address}]"))
        yield stack.enter_context(Stub(server.grpc))


def test_metadata_before_and_after_an_answer_passes_but_for_what_only_we_may_say() -> None:
    with changing(generous(ModelPeer({"m": {"1": FOUR}}))) as (_, stub):
        for _ in range(3):  # from the second time on the blocks are in HPACK's table
            _, call = stub.infer_call.with_call(request("m", {"x": ROW}), timeout=10)
            assert of(call.initial_metadata()) == SEEN_INITIAL
            assert of(call.trailing_metadata()) == SEEN_TRAILING
            assert "grpc-retry-pushback-ms" not in dict(call.trailing_metadata())


def test_an_upstream_sees_the_clients_user_agent_and_none_of_ours() -> None:
    peer = ModelPeer({"m": {"1": FOUR}})
    seen: list[str] = []

    def infer(message: Any, context: grpc.ServicerContext) -> Any:
        seen.append(dict(context.invocation_metadata())["user-agent"])
        return peer.held(message, context)

    peer.infer = infer
    with changing(peer) as (server, _):
        options = [("grpc.primary_user_agent", "scorer/1.2")]
        with grpc.insecure_channel(server.grpc, options) as channel:
            unary = channel.unary_unary(INFER, REQUEST.SerializeToString, RESPONSE.FromString)
            unary(request("m", {"x": ROW}), timeout=10)
            stream = channel.stream_stream(STREAM_INFER, REQUEST.SerializeToString)
            assert len(list(stream(iter([request("m", {"x": ROW})]), timeout=10))) == 1
    assert len(seen) == 2
    for agent in seen:
        assert agent.startswith("scorer/1.2 grpc-python/") and "modelward" not in agent


def test_metadata_of_an_error_passes_too() -> None:
    peer = generous(ModelPeer({"m": {"1": FOUR}}), code=grpc.StatusCode.FAILED_PRECONDITION)
    with changing(peer) as (_, stub):
        with pytest.raises(grpc.RpcError, match="as told") as raised:
            stub.infer(request("m", {"x": ROW}))
        assert of(raised.value.initial_metadata()) == SEEN_INITIAL  # type: ignore[attr-defined]
        assert of(raised.value.trailing_metadata()) == SEEN_TRAILING  # type: ignore[attr-defined]


def test_metadata_of_a_stream_passes() -> None:
    peer = ModelPeer({"m": {"1": FOUR}})
    peer.stream_metadata = (INITIAL, TRAILING)
    with changing(peer) as (_, stub):
        call = stub.stream([request("m", {"x": ROW})])
        assert [answer.infer_response.model_name for answer in call] == ["m"]
        assert of(call.initial_metadata()) == SEEN_INITIAL
        assert of(call.trailing_metadata()) == SEEN_TRAILING


def test_an_answer_that_the_fallback_chain_gives_has_nothing_of_the_upstream_that_failed() -> None:
    peer = generous(ModelPeer({"m": {"1": FOUR}}), code=grpc.StatusCode.INTERNAL)
    with changing(peer, own=True, models__m__fallback="[{value: {y: [[7, 7, 7, 7]]}}]") as (_, stub):
        _, call = stub.infer_call.with_call(request("m", {"x": ROW}), timeout=10)
        assert of(call.initial_metadata()) == []
        assert of(call.trailing_metadata()) == [("modelward-fallback", "failure")]


def test_an_interim_response_is_of_no_answer() -> None:
    def behave(asked: Request) -> None:
        asked.headers_out((":status", "103"), ("x-hint", "1"))
        asked.headers_out((":status", "200"), ("content-type", "application/grpc"), ("x-real", "1"))
        asked.data(answer_message())
        asked.trailers(("grpc-status", "0"), ("x-after", "1"))

    with raw(behave) as stub:
        _, call = stub.infer_call.with_call(request("add", {"x": ROW}), timeout=10)
        assert of(call.initial_metadata()) == [("x-real", "1")]
        assert of(call.trailing_metadata()) == [("x-after", "1")]


def test_what_belongs_to_the_hop_stays_there() -> None:
    hop = (
        ("alt-svc", 'h3=":443"'),
        ("proxy-status", "x"),
        ("proxy_connection", "x"),
        ("content_length", "7"),
        ("content_type", "text/html"),
        ("cache_control", "no-store"),
        ("grpc_message", "x"),
        ("via", "1.1 other"),
        ("server", "triton"),
        ("date", "today"),
        ("x-host", "a"),
        ("grpc-tags-bin", "AA"),
    )

    def behave(asked: Request) -> None:
        asked.headers_out((":status", "200"), ("content-type", "application/grpc"), *hop)
        asked.data(answer_message())
        asked.trailers()

    with raw(behave) as stub:
        _, call = stub.infer_call.with_call(request("add", {"x": ROW}), timeout=10)
        assert of(call.initial_metadata()) == [("x-host", "a")]


def test_blocks_that_say_nothing_hide_none_that_does() -> None:
    """The same block of indexed fields is not read again where it has told nothing."""
    silent = ((":status", "200"), ("content-type", "application/grpc"), ("server", "s"), ("via", "v"))
    blocks = [
        silent,
        silent,
        (*silent, ("x-a", "1")),
        silent,
        (*silent, ("x-a", "1")),
        ((":status", "200"), silent[1]),
    ] * 3

    def behave(asked: Request) -> None:
        asked.headers_out(*blocks[asked.number])
        asked.data(answer_message())
        asked.trailers(("grpc-status", "0"), ("date", "today"))

    with raw(behave) as stub:
        for block in blocks:
            _, call = stub.infer_call.with_call(request("add", {"x": ROW}), timeout=20)
            assert of(call.initial_metadata()) == [field for field in block if field[0] == "x-a"]
            assert of(call.trailing_metadata()) == []


def test_more_metadata_than_there_is_room_for_is_left_out_and_the_answer_passes() -> None:
    many = [(f"x-{i}", "v" * 1000) for i in range(50)]

    def behave(asked: Request) -> None:
        asked.headers_out((":status", "200"), ("content-type", "application/grpc"), *many)
        asked.data(answer_message())
        asked.trailers(("grpc-status", "0"), *((f"y-{i}", "v") for i in range(200)))

    with raw(behave) as stub:
        answer, call = stub.infer_call.with_call(request("add", {"x": ROW}), timeout=10)
        assert answer.outputs[0].name == "y"
        initial, trailing = of(call.initial_metadata()), of(call.trailing_metadata())
        assert initial == many[:6]
        assert len(trailing) == 64


def test_hedged_and_repeated_requests_bring_the_metadata_of_the_answer_that_counts() -> None:
    failing = generous(ModelPeer({"m": {"1": FOUR}}), code=grpc.StatusCode.UNAVAILABLE)
    sound = ModelPeer({"m": {"1": FOUR}})

    def infer(message: Any, context: grpc.ServicerContext) -> Any:
        context.set_trailing_metadata((("x-from", "sound"),))
        return sound.held(message, context)

    sound.infer = infer
    with contextlib.ExitStack() as stack:
        first, second = (stack.enter_context(listening(peer))[0] for peer in (failing, sound))
        server = stack.enter_context(in_front(models__m__upstreams=f"[{first}, {second}]"))
        stub = stack.enter_context(Stub(server.grpc))
        for _ in range(8):
            _, call = stub.infer_call.with_call(request("m", {"x": ROW}), timeout=10)
            assert of(call.initial_metadata()) == []
            assert of(call.trailing_metadata()) == [("x-from", "sound")]
