"""Compressed messages: what is taken, and that none is inflated before it is admitted, or in the way of others."""

from __future__ import annotations

import contextlib
import gzip
import struct
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from modelward.access import keys
from tests.conftest import Serve
from tests.e2e.h2client import H2Client
from tests.e2e.messages import INFER, REQUEST, RESPONSE, STREAM_INFER, STREAM_RESPONSE, arrays, request
from tests.e2e.test_relay import UNKNOWN, asked, echo, ids, nothing_is_left, relayed, thrice
from tests.models import add_one
from tests.support import EmbeddedServer, wait_until

MiB = 2**20
TIMEOUT = 20.0
# 4 MiB, a thread's to inflate, of numbers that get no smaller than a quarter: below the ratio that is taken for a bomb
LARGE = np.random.default_rng(0).integers(0, 1000, (MiB // 4, 4)).astype(np.float32)
GZIP = [("grpc-encoding", "gzip")]
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda message: gzip.compress(message, 1),
    "deflate": lambda message: zlib.compress(message, 1),
}


def packed(message: Any, encoding: str = "gzip") -> bytes:
    return framed(PACKERS[encoding](message if isinstance(message, bytes) else message.SerializeToString()))


def framed(data: bytes) -> bytes:
    return struct.pack(">BI", 1, len(data)) + data


def queued(server: EmbeddedServer) -> int:
    """Messages that a thread was given to inflate."""
    data_plane = server.application.server
    assert data_plane is not None
    return data_plane.inflater.queued


def cut(message: Any) -> bytes:
    """gzip that breaks off behind the first pieces, and says in its trailer what it should have been."""
    whole = gzip.compress(message.SerializeToString(), 0)
    return framed(whole[: len(whole) // 2] + whole[-4:])


# ---- what is taken


@pytest.mark.parametrize("encoding", PACKERS)
@pytest.mark.parametrize("rows", [1, 500, 3_000, MiB // 4])
def test_a_compressed_message_of_any_size_is_answered(serve: Serve, encoding: str, rows: int) -> None:
    server = serve({"add": add_one()})
    values = LARGE[:rows]
    with H2Client(server.grpc) as client:
        reply = client.call(packed(request("add", {"x": values}), encoding), headers=[("grpc-encoding", encoding)])
        np.testing.assert_array_equal(arrays(RESPONSE.FromString(reply.messages[0][1]))["y"], values + 1)
    assert queued(server) == (rows == MiB // 4)
    nothing_is_left(server)


@pytest.mark.parametrize("encoding", PACKERS)
def test_messages_of_a_stream_keep_their_order_whatever_they_take_to_inflate(serve: Serve, encoding: str) -> None:
    server = serve({"add": add_one()})
    sizes = [MiB // 4, 1, 3_000, MiB // 4, 1]
    with H2Client(server.grpc) as client:
        opened = client.begin(STREAM_INFER, [("grpc-encoding", encoding)])
        for number, rows in enumerate(sizes):
            message = request("add", {"x": LARGE[:rows]}, id=str(number))
            client.send(opened, packed(message, encoding))
        client.send(opened, b"", end=True)
        reply = client.reply(opened)
        assert reply.code == 0
        answers = [STREAM_RESPONSE.FromString(data).infer_response for _, data in reply.messages]
        assert [(int(a.id), a.outputs[0].shape[0]) for a in answers] == list(enumerate(sizes))
    assert queued(server) == 2
    nothing_is_left(server)


@pytest.mark.parametrize("refused", [{"model": "none"}, {"version": "7"}], ids=["unknown model", "unknown version"])
def test_a_stream_goes_on_behind_a_message_that_is_refused_before_it_is_inflated(
    serve: Serve, refused: dict[str, str]
) -> None:
    server = serve({"add": add_one()})
    bad = request(refused.get("model", "add"), {"x": LARGE})
    bad.model_version = refused.get("version", "")
    with grpc.insecure_channel(server.grpc) as channel:
        call = channel.stream_stream(STREAM_INFER, REQUEST.SerializeToString, STREAM_RESPONSE.FromString)
        small = request("add", {"x": LARGE[:1]})
        answers = list(call(iter([bad, small]), compression=grpc.Compression.Gzip, timeout=TIMEOUT))
    assert [bool(each.error_message) for each in answers] == [True, False]


@pytest.mark.parametrize("encoding", PACKERS)
def test_upstreams_get_a_streams_compressed_messages_in_order(encoding: str) -> None:
    big = LARGE.reshape(1, MiB)
    with relayed(thrice) as (_, server, channel):
        call = channel.stream_stream(STREAM_INFER, REQUEST.SerializeToString, STREAM_RESPONSE.FromString)
        compression = grpc.Compression.Gzip if encoding == "gzip" else grpc.Compression.Deflate
        rows = [asked(0, row=big), asked(1), asked(2, row=big), asked(3)]
        answers = ids(call(iter(rows), timeout=TIMEOUT, compression=compression))
        assert answers == [f"{i}.{k}" for i in range(4) for k in range(3)]
        assert queued(server) == 2


def test_a_method_that_is_passed_through_gets_its_messages_inflated() -> None:
    with relayed(echo, passthrough="true") as (_, server, channel):
        call = channel.stream_stream(UNKNOWN)
        sent = [LARGE.tobytes(), b"b", LARGE.tobytes()[::-1]]
        assert list(call(iter(sent), timeout=TIMEOUT, compression=grpc.Compression.Gzip)) == sent
        assert queued(server) == 2


@pytest.mark.parametrize("encoding", PACKERS)
def test_equal_numbers_are_taken_however_small_they_get(serve: Serve, encoding: str) -> None:
    server = serve({"add": add_one()})
    equal = np.ones((20_000, 4), np.float32)
    message = packed(request("add", {"x": equal}), encoding)
    assert len(message) < equal.nbytes / 100
    with H2Client(server.grpc) as client:
        reply = client.call(message, headers=[("grpc-encoding", encoding)])
        np.testing.assert_array_equal(arrays(RESPONSE.FromString(reply.messages[0][1]))["y"], equal + 1)
    nothing_is_left(server)


@pytest.mark.parametrize("encoding", PACKERS)
@pytest.mark.parametrize("size", [2 * MiB, 64 * MiB])
def test_a_refused_message_is_told_which_limit_it_is_over(serve: Serve, encoding: str, size: int) -> None:
    server = serve({"add": add_one()}, limits__message_size="16MiB")
    bomb = framed(PACKERS[encoding](REQUEST(model_name="add").SerializeToString() + b"\x2a" + bytes(size)))
    with H2Client(server.grpc) as client:
        reply = client.call(bomb, headers=[("grpc-encoding", encoding)])
    assert (reply.code, reply.reason) == (8, "INFLATED_TOO_LARGE")
    by_ratio = "more than 100 times its size and 1048576 bytes"
    by_limit = "the limit of 16777216 bytes"
    assert (by_limit if size > 16 * MiB else by_ratio) in reply.message


@pytest.mark.parametrize("encoding", PACKERS)
@pytest.mark.parametrize("size", [2 * MiB, 64 * MiB])
def test_a_bomb_is_refused(serve: Serve, encoding: str, size: int) -> None:
    server = serve({"add": add_one()}, limits__message_size="1MiB")
    bomb = framed(PACKERS[encoding](REQUEST(model_name="add").SerializeToString() + bytes(size)))
    with H2Client(server.grpc) as client:
        reply = client.call(bomb, headers=[("grpc-encoding", encoding)])
        assert (reply.code, reply.reason) == (8, "INFLATED_TOO_LARGE")
    nothing_is_left(server)


def test_a_client_that_lets_go_of_what_is_inflated_leaves_nothing_behind(serve: Serve) -> None:
    server = serve({"add": add_one()})
    message = packed(request("add", {"x": LARGE}))
    with H2Client(server.grpc) as client:
        for _ in range(20):
            client.send(client.begin(INFER, GZIP), message, end=True)
        wait_until(lambda: queued(server) > 0, "the first to reach the thread")
    nothing_is_left(server)


# ---- admission comes first


@pytest.mark.parametrize("level", ["identity", "total"])
def test_over_a_limit_nothing_is_inflated(serve: Serve, level: str) -> None:
    server = serve({"add": add_one()}, **{f"limits__{level}": {"rate": "0.01/s", "burst": 1}})
    garbage = framed(b"\x1f\x8b not gzip" + struct.pack("<I", MiB))
    with H2Client(server.grpc) as client:
        assert client.call(packed(request("add", {"x": LARGE[:1]})), headers=GZIP).code == 0
        assert client.call(garbage, headers=GZIP).reason == f"{level.upper()}_LIMIT"


@pytest.mark.parametrize("path", [INFER, STREAM_INFER])
@pytest.mark.parametrize(
    "message",
    [
        framed(b"not gzip"),
        framed(gzip.compress(b"x")[:10] + b"\xff" * 200 + struct.pack("<I", 3000)),
        framed(gzip.compress(b"x")[:10] + b"\xff" * 200 + struct.pack("<I", 2**31)),
        packed(REQUEST(id="x" * 3000).SerializeToString() + np.random.default_rng(0).bytes(100_000)),
    ],
    ids=["not gzip", "broken", "too large by its own word", "no name"],
)
@pytest.mark.parametrize("level", ["peer", "total"])
def test_what_is_refused_before_its_model_is_known_is_paid_for(
    serve: Serve, level: str, message: bytes, path: str
) -> None:
    server = serve({"add": add_one()}, **{f"limits__{level}": {"rate": "0.01/s", "burst": 3}})
    with H2Client(server.grpc) as client:
        if path == INFER:
            reasons = [client.call(message, headers=GZIP).reason for _ in range(5)]
            assert reasons[0].startswith(("MALFORMED", "INFLATED")), reasons
            assert [reason == f"{level.upper()}_LIMIT" for reason in reasons] == [False] * 3 + [True] * 2
            return
        stream = client.begin(path, GZIP)
        client.send(stream, message * 5, end=True)
        answers = client.reply(stream).messages
        texts = [STREAM_RESPONSE.FromString(gzip.decompress(m) if flag else m).error_message for flag, m in answers]
        assert ["limit of 36 requests/h" in text for text in texts] == [False] * 3 + [True] * 2, texts


def test_over_the_models_limit_only_the_start_is_inflated(serve: Serve) -> None:
    server = serve({"add": add_one()}, models__add__limit={"rate": "0.01/s", "burst": 1})
    with H2Client(server.grpc) as client:
        assert client.call(packed(request("add", {"x": LARGE[:1]})), headers=GZIP).code == 0
        assert client.call(cut(request("add", {"x": LARGE})), headers=GZIP).reason == "MODEL_LIMIT"
    assert queued(server) == 0


@pytest.mark.parametrize(("model", "reason"), [("other", "PERMISSION_DENIED"), ("none", "PERMISSION_DENIED")])
def test_for_who_may_not_call_the_model_only_the_start_is_inflated(serve: Serve, model: str, reason: str) -> None:
    rules = [{"anonymous": True, "models": "add"}]
    server = serve({"add": add_one(), "other": add_one()}, access={"rules": rules})
    with H2Client(server.grpc) as client:
        assert client.call(cut(request(model, {"x": LARGE})), headers=GZIP).reason == reason
        assert client.call(cut(request("add", {"x": LARGE})), headers=GZIP).reason == "MALFORMED_FRAMING", (
            "which shows that"
        )


def test_of_a_model_that_is_not_served_only_the_start_is_inflated(serve: Serve) -> None:
    with H2Client(serve({"add": add_one()}).grpc) as client:
        assert client.call(cut(request("none", {"x": LARGE})), headers=GZIP).reason == "UNKNOWN_MODEL"


@pytest.mark.parametrize("second", [b"other", b"add", b""], ids=["another", "the same", "none"])
def test_a_large_message_that_names_a_model_twice_is_refused(serve: Serve, second: bytes) -> None:
    """What was admitted is the first; the last one is the one that protobuf takes."""
    server = serve({"add": add_one(), "other": add_one()})
    message = request("add", {"x": LARGE}).SerializeToString() + b"\x0a" + bytes([len(second)]) + second
    with H2Client(server.grpc) as client:
        reply = client.call(packed(message), headers=GZIP)
        assert (reply.code, reply.reason) == (3, "MALFORMED_MESSAGE")
        assert "model_name" in reply.message


# ---- no request waits for another's


def flood(size: int) -> bytes:
    """Short on its way and long when inflated, as far as the ratio allows; refused once it is inflated."""
    rows = np.zeros((size // 16, 4), np.float32)
    rows[: size // 1000] = np.random.default_rng(0).normal(size=(size // 1000, 4))
    return packed(request("add", {"y": rows}))


class HeldThread:
    """Holds up the thread that inflates: of what it was given it does the first slice, and the next with each `step`.

    It is the event loop as the inflater sees it, put in its place before the first message.
    """

    def __init__(self, server: EmbeddedServer) -> None:
        data_plane, loop = server.application.server, server.application.loop
        assert data_plane is not None and loop is not None
        self._loop = loop
        data_plane.inflater.start(self)

    def add_reader(self, descriptor: int, slice_is_done: Callable[[], None]) -> None:
        self._descriptor, self._slice_is_done = descriptor, slice_is_done

    def remove_reader(self, descriptor: int) -> None:
        self._loop.remove_reader(descriptor)

    def step(self) -> None:
        stepped = threading.Event()

        def once() -> None:
            self._loop.remove_reader(self._descriptor)
            self._slice_is_done()
            stepped.set()

        self._loop.call_soon_threadsafe(self._loop.add_reader, self._descriptor, once)
        assert stepped.wait(60)

    def let_go(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.add_reader, self._descriptor, self._slice_is_done)


def test_large_messages_do_not_hold_up_a_small_one_behind_them(serve: Serve) -> None:
    server = serve({"add": add_one()})
    held, large = HeldThread(server), flood(15 * MiB)
    with H2Client(server.grpc) as client:
        before = [client.begin(INFER, GZIP) for _ in range(40)]
        for opened in before:
            client.send(opened, large, end=True)
        small = client.begin(INFER)
        message = request("add", {"x": LARGE[:1]}).SerializeToString()
        client.send(small, struct.pack(">BI", 0, len(message)) + message, end=True)
        assert client.reply(small).code == 0
        assert queued(server) == 40
        assert not any(client.replies[opened].over for opened in before)
        held.let_go()
        assert {client.reply(opened, 60).reason for opened in before} == {"INVALID_INPUT"}


@pytest.fixture
def two(serve: Serve, tmp_path: Path) -> tuple[EmbeddedServer, list[tuple[str, str]], list[tuple[str, str]]]:
    """A server, and the headers of two who may call it."""
    made = [keys.make(name) for name in ("alice", "bob")]
    with keys.editing(tmp_path / "keys.json") as kept:
        kept.update({key.id: key for key, _ in made})
    access = {"keys": str(tmp_path / "keys.json"), "rules": [{"identity": "*", "models": "add"}]}
    server = serve({"add": add_one()}, access=access)
    alice, bob = ([*GZIP, ("x-api-key", text)] for _, text in made)
    return server, alice, bob


def test_an_identity_with_many_large_messages_waits_behind_itself(two: Any) -> None:
    server, alice, bob = two
    held, message = HeldThread(server), flood(15 * MiB)
    with H2Client(server.grpc) as many, H2Client(server.grpc) as one:
        sent = [many.begin(INFER, alice) for _ in range(40)]
        for opened in sent:
            many.send(opened, message, end=True)
        wait_until(lambda: queued(server) == 40, "all of them to wait")
        short = one.begin(INFER, bob)
        one.send(short, packed(request("add", {"y": LARGE})), end=True)
        wait_until(lambda: queued(server) == 41, "the other identity's")
        for _ in range(2 * 5):  # four slices and its end, and between two of them one of the many
            held.step()
        assert one.reply(short).reason == "INVALID_INPUT"
        held.let_go()
        assert {many.reply(opened, 60).reason for opened in sent} == {"INVALID_INPUT"}
    nothing_is_left(server)


def test_of_more_than_can_wait_those_of_who_sent_most_are_refused(two: Any) -> None:
    server, alice, bob = two
    held, message = HeldThread(server), flood(8 * MiB)
    with contextlib.ExitStack() as stack:
        sent = []
        for _ in range(3):
            client = stack.enter_context(H2Client(server.grpc))
            for _ in range(100):
                sent.append((client, client.begin(INFER, alice)))
                client.send(sent[-1][1], message, end=True)
        wait_until(lambda: queued(server) == 300, "more than can wait")
        honest = stack.enter_context(H2Client(server.grpc))
        short = honest.begin(INFER, bob)
        honest.send(short, packed(request("add", {"x": LARGE[:9000]})), end=True)
        wait_until(lambda: queued(server) == 301, "the other identity's")
        held.let_go()
        assert honest.reply(short, 60).code == 0
        reasons = {client.reply(opened, 60).reason for client, opened in sent}
    assert reasons == {"INVALID_INPUT", "QUEUE_FULL"}
    nothing_is_left(server)
