"""gRPC over HTTP/2 as seen frame by frame: compression, framing, timeouts, metadata, and what is not gRPC."""

from __future__ import annotations

import gzip
import socket
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests import models
from tests.conftest import Serve
from tests.e2e.h2client import H2Client, framed
from tests.e2e.messages import INFER, RESPONSE, STREAM_INFER, STREAM_RESPONSE, arrays, request
from tests.support import EmbeddedServer, serving

MiB = 2**20
ZEROS = np.zeros((500, 4), np.float32)
HEALTH = "/grpc.health.v1.Health/Check"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    with serving(tmp_path_factory.mktemp("wire"), {"add": models.add_one()}, limits__message_size="1MiB") as running:
        yield running


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[H2Client]:
    with H2Client(server.grpc) as opened:
        yield opened
        # whatever the test did to its streams, the connection lives
        assert answer(opened.call(framed(body(ZEROS[:1]))).messages[0][1]).tolist() == [[1.0] * 4]


def body(rows: Any = ZEROS) -> bytes:
    serialized: bytes = request("add", {"x": rows}).SerializeToString()
    return serialized


def answer(message: bytes) -> Any:
    return arrays(RESPONSE.FromString(message))["y"]


# ---- compression ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accepted", "sent_gzip", "gzip_answer"),
    [
        (None, False, False),
        ("identity", False, False),
        ("gzip", False, True),
        ("identity,gzip", False, True),
        ("identity, deflate, gzip", False, False),  # what grpc-core always says
        ("identity, deflate, gzip", True, True),  # and what it says when its user asked for gzip
        ("deflate", True, False),
        (None, True, False),
    ],
)
def test_an_answer_is_compressed_where_the_client_wants_it(
    client: H2Client, accepted: str | None, sent_gzip: bool, gzip_answer: bool
) -> None:
    headers = [("grpc-accept-encoding", accepted)] if accepted else []
    headers += [("grpc-encoding", "gzip")] if sent_gzip else []
    reply = client.call(framed(body(), compressed=sent_gzip), headers=headers)
    ((compressed, message),) = reply.messages
    assert compressed == gzip_answer
    assert (reply.headers.get("grpc-encoding") == "gzip") == gzip_answer
    assert (answer(gzip.decompress(message) if compressed else message) == 1).all()


def test_a_client_that_may_compress_need_not(client: H2Client) -> None:
    assert client.call(framed(body()), headers=[("grpc-encoding", "gzip")]).code == 0


def test_an_answer_that_gzip_makes_longer_is_sent_as_it_is(client: H2Client) -> None:
    noise = np.random.default_rng(0).integers(0, 2**31, (1, 4)).astype(np.float32)
    ((compressed, message),) = client.call(framed(body(noise)), headers=[("grpc-accept-encoding", "gzip")]).messages
    assert not compressed
    np.testing.assert_array_equal(answer(message), noise + 1)


def test_messages_of_a_stream_are_compressed_one_by_one(client: H2Client) -> None:
    stream = client.begin(STREAM_INFER, [("grpc-encoding", "gzip"), ("grpc-accept-encoding", "gzip")])
    client.send(stream, framed(body(), compressed=True) + framed(body()) + framed(body(), compressed=True), end=True)
    reply = client.reply(stream)
    assert reply.code == 0
    messages = [gzip.decompress(m) if flag else m for flag, m in reply.messages]
    assert [(answer_of_stream(m) == 1).all() for m in messages] == [True] * 3


def answer_of_stream(message: bytes) -> Any:
    return arrays(STREAM_RESPONSE.FromString(message).infer_response)["y"]


@pytest.mark.parametrize("encoding", ["br", "snappy", "", "GZIP"])
def test_another_encoding_is_unimplemented_and_told_what_is_not(client: H2Client, encoding: str) -> None:
    reply = client.call(framed(body()), headers=[("grpc-encoding", encoding)])
    assert (reply.code, reply.reason) == (12, "UNSUPPORTED_ENCODING")
    assert reply.headers["grpc-accept-encoding"] == "identity,deflate,gzip"


@pytest.mark.parametrize("size", [2 * MiB, 64 * MiB])
def test_a_message_that_inflates_without_measure_is_refused(client: H2Client, size: int) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(bytes(MiB)) for _ in range(size // MiB)) + packer.flush()
    reply = client.call(struct.pack(">BI", 1, len(bomb)) + bomb, headers=[("grpc-encoding", "gzip")])
    assert (reply.code, reply.reason) == (8, "INFLATED_TOO_LARGE")


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (b"", "MALFORMED_FRAMING"),
        (b"not gzip", "MALFORMED_FRAMING"),
        # the last bytes are not the trailer, and say a length that is refused before anything is inflated
        (gzip.compress(body())[:-1], "INFLATED_TOO_LARGE"),
        (gzip.compress(body()) + b"more", "INFLATED_TOO_LARGE"),
        (zlib.compress(body()), "MALFORMED_FRAMING"),
    ],
    ids=["nothing", "text", "cut", "followed", "zlib"],
)
def test_a_message_marked_as_gzip_must_be_exactly_that(client: H2Client, broken: bytes, reason: str) -> None:
    reply = client.call(struct.pack(">BI", 1, len(broken)) + broken, headers=[("grpc-encoding", "gzip")])
    assert (reply.code, reply.reason) == ({"MALFORMED_FRAMING": 13, "INFLATED_TOO_LARGE": 8}[reason], reason)


def test_a_bomb_that_says_it_is_small_is_inflated_no_further(client: H2Client) -> None:
    bomb = gzip.compress(bytes(MiB // 2))[:-4] + struct.pack("<I", 1000)
    reply = client.call(struct.pack(">BI", 1, len(bomb)) + bomb, headers=[("grpc-encoding", "gzip")])
    assert (reply.code, reply.reason) == (13, "MALFORMED_FRAMING")


def test_a_compressed_message_without_an_encoding_is_an_internal_error(client: H2Client) -> None:
    assert client.call(framed(body(), compressed=True)).reason == "MALFORMED_FRAMING"


# ---- framing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "MALFORMED_FRAMING"),
        (b"\0\0\0", "MALFORMED_FRAMING"),
        (framed(body())[:-1], "MALFORMED_FRAMING"),
        (framed(body()) + framed(body()), "MALFORMED_FRAMING"),
        (framed(body()) + b"\0", "MALFORMED_FRAMING"),
        (b"\2" + framed(body())[1:], "MALFORMED_FRAMING"),
        (b'{"inputs": []}', "MALFORMED_FRAMING"),
        (b"\0\xff\xff\xff\xff", "MESSAGE_TOO_LARGE"),
        (struct.pack(">BI", 0, MiB + 1), "MESSAGE_TOO_LARGE"),
    ],
    ids=[
        "nothing",
        "half a prefix",
        "half a message",
        "two messages",
        "a byte more",
        "flag 2",
        "JSON",
        "4 GiB",
        "over",
    ],
)
def test_a_unary_call_is_one_whole_message(client: H2Client, data: bytes, reason: str) -> None:
    assert client.call(data).reason == reason


def test_a_message_may_come_byte_by_byte(client: H2Client) -> None:
    stream = client.begin()
    for byte in framed(body(ZEROS[:1])):
        client.send(stream, bytes([byte]))
    client.send(stream, b"", end=True)
    assert client.reply(stream).code == 0


def test_a_request_may_end_with_trailers_of_its_own_or_with_its_headers(client: H2Client) -> None:
    stream = client.begin()
    client.send(stream, framed(body()))
    client.h2.send_headers(stream, [("x-checksum", "1")], end_stream=True)
    client.flush()
    assert client.reply(stream).code == 0
    assert client.reply(client.begin(end=True)).reason == "MALFORMED_FRAMING"
    assert client.reply(client.begin(STREAM_INFER, end=True)).code == 0


def test_a_refused_request_gets_its_status_before_its_stream_is_cut(client: H2Client) -> None:
    stream = client.begin("/no.such/Method")  # and the body never comes
    reply = client.reply(stream)
    assert (reply.code, reply.reason) == (12, "UNKNOWN_METHOD")


def test_a_stream_that_ends_within_a_message_says_so_after_what_it_answered(client: H2Client) -> None:
    stream = client.begin(STREAM_INFER)
    client.send(stream, framed(body()))
    client.read_until(lambda: client.replies[stream].messages)
    client.send(stream, framed(body())[:-1], end=True)
    reply = client.reply(stream)
    assert (reply.code, reply.reason) == (13, "MALFORMED_FRAMING")
    assert len(reply.messages) == 1


def test_an_empty_stream_is_answered_by_an_empty_stream(client: H2Client) -> None:
    reply = client.call(b"", STREAM_INFER)
    assert (reply.code, reply.messages) == (0, [])


# ---- headers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", ["", "1", "S", "123456789S", "-1S", "1s", "1.5S", "1 S"])
def test_a_timeout_that_is_none_is_told(client: H2Client, timeout: str) -> None:
    reply = client.call(framed(body()), headers=[("grpc-timeout", timeout)])
    assert (reply.code, reply.reason) == (3, "MALFORMED_TIMEOUT")


@pytest.mark.parametrize("timeout", ["99999999H", "10M", "20S", "20000m", "20000000u", "99999999n"])
def test_every_unit_of_a_timeout_is_known(client: H2Client, timeout: str) -> None:
    assert client.call(framed(body()), headers=[("grpc-timeout", timeout)]).code == 0


def test_a_timeout_of_nothing_has_passed_already(client: H2Client) -> None:
    reply = client.call(framed(body()), headers=[("grpc-timeout", "0n")])
    assert (reply.code, reply.reason) == (4, "DEADLINE")


def test_metadata_of_the_clients_own_is_none_of_our_business(client: H2Client) -> None:
    headers = [("authorization", "Bearer x"), ("x-request-id", "1"), ("user-agent", "test"), ("trace-bin", "AAE=")]
    assert client.call(framed(body()), headers=headers).code == 0


@pytest.mark.parametrize(
    ("change", "status"),
    [({":method": "GET"}, "405"), ({"content-type": "application/json"}, "415"), ({"content-type": None}, "415"),
     ({"content-type": "application/grpcx"}, "415"), ({"content-type": "application/grpc-web"}, "415")],
)  # fmt: skip
def test_what_is_not_grpc_gets_a_plain_http_status(
    client: H2Client, change: dict[str, str | None], status: str
) -> None:
    headers = {":method": "POST", ":scheme": "http", ":path": INFER, ":authority": "t",
               "content-type": "application/grpc"} | change  # fmt: skip
    stream = client.begin(replace=[(k, v) for k, v in headers.items() if v is not None])
    client.send(stream, framed(body()), end=True)
    reply = client.reply(stream)
    assert reply.headers[":status"] == status
    assert "grpc-status" not in reply.headers


@pytest.mark.parametrize("content_type", ["application/grpc", "application/grpc+proto", "application/grpc;a=b"])
def test_grpcs_content_types_are_known(client: H2Client, content_type: str) -> None:
    headers = [(":method", "POST"), (":scheme", "http"), (":path", INFER), (":authority", "t"), ("te", "trailers"),
               ("content-type", content_type)]  # fmt: skip
    stream = client.begin(replace=headers)
    client.send(stream, framed(body()), end=True)
    assert client.reply(stream).code == 0


@pytest.mark.parametrize(
    "headers", [[("x", "y" * 20_000)], [(f"x-{i}", "y") for i in range(120)]], ids=["long", "many"]
)
def test_too_much_metadata_ends_the_stream_and_nothing_else(client: H2Client, headers: list[tuple[str, str]]) -> None:
    stream = client.begin(headers=headers)
    reply = client.reply(stream)
    assert (reply.code, reply.reason) == (8, "HEADERS_TOO_LARGE")


def test_a_request_that_never_comes_is_given_up_and_its_connection_with_it(serve: Serve) -> None:
    server = serve({"add": models.add_one()}, limits__timeouts__request="1s")
    with H2Client(server.grpc) as client:
        stream = client.begin()
        client.send(stream, framed(body())[:20])
        reply = client.reply(stream)
        assert (reply.code, reply.reason) == (4, "SLOW_REQUEST")
        assert client.is_closed()


# ---- cold methods --------------------------------------------------------------------------------------------


def test_cold_methods_keep_the_same_rules(client: H2Client) -> None:
    assert client.call(framed(b""), HEALTH).messages == [(False, b"\x08\x01")]
    assert client.call(b"", HEALTH).code == 12
    assert client.call(framed(b"") * 2, HEALTH).code == 12
    assert client.call(framed(b"\xff"), HEALTH).reason == "MALFORMED_MESSAGE"
    assert client.call(framed(bytes(MiB)), HEALTH).code == 8
    assert client.call(framed(b"")[:3], HEALTH).reason == "MALFORMED_FRAMING"
    assert client.call(framed(b""), HEALTH, [("grpc-timeout", "soon")]).reason == "MALFORMED_TIMEOUT"
    gzipped = client.call(framed(b"", compressed=True), HEALTH, [("grpc-encoding", "gzip")])
    assert (gzipped.code, gzipped.messages) == (0, [(False, b"\x08\x01")])


# ---- connections ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "greeting",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        bytes(1000),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" * 2,
    ],
    ids=["HTTP/1.1", "TLS", "zeros", "preface twice"],
)
def test_what_does_not_speak_http2_is_disconnected(server: EmbeddedServer, greeting: bytes) -> None:
    host, port = server.grpc.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=10) as plain:
        plain.sendall(greeting)
        received = b""
        while piece := receive(plain):
            received += piece
        assert len(received) < 200  # its SETTINGS and GOAWAY, and nothing else


def receive(plain: socket.socket) -> bytes:
    try:
        return plain.recv(4096)
    except ConnectionResetError:
        return b""


def test_a_broken_frame_ends_its_connection_and_no_other(server: EmbeddedServer, client: H2Client) -> None:
    with H2Client(server.grpc) as bad:
        bad.call(framed(body()))
        bad.send_raw(b"\0\0\5\4\0\0\0\0\0broke")  # SETTINGS of five bytes
        assert bad.is_closed()
    assert client.call(framed(body())).code == 0
