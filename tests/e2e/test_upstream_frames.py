"""What an upstream may send, frame by frame, and what it may not."""

from __future__ import annotations

import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from h2.settings import SettingCodes
from hyperframe.frame import ContinuationFrame, DataFrame, HeadersFrame, PriorityFrame, PushPromiseFrame

from tests.e2e.raw_upstream import HEADERS, OK, Request, answer_message
from tests.e2e.test_upstream_faults import ONES, behind, refused
from tests.e2e.test_upstreams import answer, infer
from tests.support import wait_until

PROTOCOL_ERROR, FLOW_CONTROL_ERROR = 1, 3


def frame(kind: int, flags: int, stream: int, payload: bytes = b"", size: int | None = None) -> bytes:
    length = len(payload) if size is None else size
    return struct.pack(">I", length)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def block(*headers: tuple[str, str]) -> bytes:
    """Literals alone, which leave every table as it is."""
    return b"".join(b"\0" + bytes([len(n)]) + n.encode() + bytes([len(v)]) + v.encode() for n, v in headers)


def push_promise(stream: int) -> bytes:
    promise = PushPromiseFrame(stream, promised_stream_id=2, data=block((":method", "GET")), flags=["END_HEADERS"])
    return bytes(promise.serialize())


# what ends the connection, by what is wrong with it
UNFORGIVABLE: dict[str, Callable[[int], bytes]] = {
    "a push": push_promise,
    "an answer to what was never asked": lambda s: frame(1, 4, s + 2000, block(*HEADERS)),
    "an answer on a stream of its own": lambda s: frame(1, 4, 2, block(*HEADERS)),
    "an answer on no stream": lambda s: frame(1, 4, 0, block(*HEADERS)),
    "data of what was never asked": lambda s: frame(0, 0, s + 2000, b"x"),
    "a reset of what was never asked": lambda s: frame(3, 0, s + 2000, b"\0\0\0\1"),
    "a continuation of nothing": lambda s: frame(9, 4, s, block(*HEADERS)),
    "something between headers and their continuation": lambda s: frame(1, 0, s, b"\x88") + frame(6, 0, 0, b"12345678"),
    "the continuation of another stream": lambda s: frame(1, 0, s, b"\x88") + frame(9, 4, s + 2, b""),
    "endless continuations": lambda s: frame(1, 0, s, b"\x88") + frame(9, 0, s, b"") * 20,
    "padding longer than its frame": lambda s: frame(0, 8, s, b"\x05abc"),
    "a priority that is cut off": lambda s: frame(1, 0x24, s, b"\0\0\0"),
    "settings of an odd size": lambda s: frame(4, 0, 0, b"\0\1\0\0\0"),
    "settings of a stream": lambda s: frame(4, 0, s),
    "an acknowledgement that says something": lambda s: frame(4, 1, 0, b"\0\1\0\0\0\0"),
    "a server that enables pushes": lambda s: frame(4, 0, 0, struct.pack(">HI", 2, 1)),
    "a frame size that is not allowed": lambda s: frame(4, 0, 0, struct.pack(">HI", 5, 100)),
    "a window that is too large": lambda s: frame(4, 0, 0, struct.pack(">HI", 4, 1 << 31)),
    "more window than there is": lambda s: frame(8, 0, 0, struct.pack(">I", (1 << 31) - 1)),
    "a window opened by nothing": lambda s: frame(8, 0, 0, b"\0\0\0\0"),
    "a ping of seven bytes": lambda s: frame(6, 0, 0, b"1234567"),
    "a reset of three bytes": lambda s: frame(3, 0, s, b"123"),
    "a goaway of seven bytes": lambda s: frame(7, 0, 0, b"1234567"),
    "a frame that is too large": lambda s: frame(0, 0, s, size=16385),
    "an index that is in no table": lambda s: frame(1, 4, s, b"\xfe"),
    "a block that is cut off": lambda s: frame(1, 4, s, b"\x40\x7f"),
    "small references to a large field": lambda s: frame(
        1, 4, s, b"\x88\x40\x01x\x7f\xe1\x1e" + b"v" * 4064 + b"\xbe" * 5000
    ),
    "a thousand pings that it waits for": lambda s: frame(6, 0, 0, b"12345678") * 1000,
}


@pytest.mark.parametrize("wrong", UNFORGIVABLE)
def test_a_connection_that_breaks_the_protocol_is_ended_and_another_takes_its_place(wrong: str) -> None:
    def behave(r: Request) -> None:
        if r.number == 0:
            r.connection.send_raw(UNFORGIVABLE[wrong](r.stream))
        else:
            r.answer()

    with behind(behave, models__add__deadline="10s") as (server, _):
        assert refused(server).code() is grpc.StatusCode.UNAVAILABLE
        wait_until(lambda: server.application.upstreams[0].connected, "the next connection")
        assert answer(infer(server.grpc)) == ONES


# what resets the stream, and with which code
FORGIVABLE: dict[str, tuple[int, Callable[[int], bytes]]] = {
    "an answer without a status": (
        PROTOCOL_ERROR,
        lambda s: frame(1, 4, s, block(("content-type", "application/grpc"))),
    ),
    "two statuses": (PROTOCOL_ERROR, lambda s: frame(1, 4, s, b"\x88\x88")),
    "a status that is no number": (PROTOCOL_ERROR, lambda s: frame(1, 4, s, block((":status", "2x0")))),
    "a status after a field": (PROTOCOL_ERROR, lambda s: frame(1, 4, s, block(("a", "b"), (":status", "200")))),
    "a request's field": (PROTOCOL_ERROR, lambda s: frame(1, 4, s, block((":status", "200"), (":path", "/")))),
    "a name in upper case": (PROTOCOL_ERROR, lambda s: frame(1, 4, s, block((":status", "200"), ("A", "b")))),
    "a line break in a value": (
        PROTOCOL_ERROR,
        lambda s: frame(1, 4, s, block((":status", "200"), ("a", "b\r\nc: d"))),
    ),
    "an interim answer that is the last": (PROTOCOL_ERROR, lambda s: frame(1, 5, s, block((":status", "103")))),
    "trailers that are not the last": (PROTOCOL_ERROR, lambda s: frame(1, 4, s, b"\x88") + frame(1, 4, s, block(*OK))),
    "a status in trailers": (PROTOCOL_ERROR, lambda s: frame(1, 4, s, b"\x88") + frame(1, 5, s, b"\x88")),
    "data before headers": (PROTOCOL_ERROR, lambda s: frame(0, 0, s, b"data")),
    "a window opened by nothing": (PROTOCOL_ERROR, lambda s: frame(8, 0, s, b"\0\0\0\0")),
    "more window than there is": (FLOW_CONTROL_ERROR, lambda s: frame(8, 0, s, struct.pack(">I", (1 << 31) - 1))),
}


@pytest.mark.parametrize("wrong", FORGIVABLE)
def test_a_malformed_answer_costs_its_own_stream_and_no_other(wrong: str) -> None:
    connections = set()
    code, made = FORGIVABLE[wrong]

    def behave(r: Request) -> None:
        connections.add(id(r.connection))
        if r.number == 0:
            r.connection.send_raw(made(r.stream))
        else:
            r.answer()

    with behind(behave, models__add__deadline="10s") as (server, upstream):
        assert refused(server).code() is grpc.StatusCode.INTERNAL
        wait_until(lambda: upstream.resets == [code], f"the reset, and not {upstream.resets}")
        assert answer(infer(server.grpc)) == ONES
        assert len(connections) == 1


def padded(stream: int, pieces: bytes) -> bytes:
    """The answer with all that may stand around it, and no table touched."""
    headers = HeadersFrame(stream, data=pieces[:1], flags=["PADDED", "PRIORITY"])
    headers.pad_length, headers.stream_weight, headers.depends_on = 7, 3, 0
    rest = ContinuationFrame(stream, data=pieces[1:], flags=["END_HEADERS"])
    body = b""
    for byte in answer_message():
        data = DataFrame(stream, bytes([byte]), flags=["PADDED"])
        data.pad_length = 200
        body += data.serialize()
    interim = frame(1, 4, stream, block((":status", "103"), ("link", "x")))
    odd = frame(0xBB, 0xFF, stream, b"unknown") + PriorityFrame(stream).serialize() + frame(8, 0, stream, b"\0\0\0\1")
    return bytes(
        interim
        + headers.serialize()
        + rest.serialize()
        + odd
        + body
        + frame(0, 0, stream)
        + frame(1, 5, stream, block(*OK))
    )


@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
def test_whatever_the_protocol_allows_is_an_answer_however_it_is_cut(size: int) -> None:
    def behave(r: Request) -> None:
        whole = padded(r.stream, block(*HEADERS))
        for i in range(0, len(whole), size):
            r.connection.send_raw(whole[i : i + size])

    with behind(behave) as (server, _):
        for _ in range(3):
            assert answer(infer(server.grpc)) == ONES


def test_a_block_that_says_what_an_earlier_one_said_is_still_read_for_what_it_says() -> None:
    statuses = ("0", "9", "0", "0", "5", "9", "5", "0")

    def behave(r: Request) -> None:
        r.headers_out(*HEADERS, *((f"x-{i}", str(r.number)) for i in range(r.number % 5 == 4)))
        r.data(answer_message())
        r.trailers(("grpc-status", statuses[r.number % len(statuses)]))

    with behind(behave) as (server, _):
        for i in range(40):
            status = statuses[i % len(statuses)]
            if status == "0":
                assert answer(infer(server.grpc)) == ONES
            else:
                assert refused(server).code().value[0] == int(status)


def test_a_smaller_table_is_heeded() -> None:
    """h2 ends a connection whose client goes on with a table that it was denied."""
    connections = set()

    def behave(r: Request) -> None:
        connections.add(id(r.connection))
        if r.number == 2:
            r.connection.h2.update_settings({SettingCodes.HEADER_TABLE_SIZE: 0})
        r.answer()

    with behind(behave) as (server, _):
        assert [answer(infer(server.grpc)) for _ in range(6)] == [ONES] * 6
        assert len(connections) == 1


def test_a_limit_of_streams_is_waited_for() -> None:
    most = []

    def behave(r: Request) -> None:
        if r.number == 0:
            r.connection.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 2})
        most.append(r.connection.h2.open_inbound_streams)
        r.answer()

    with behind(behave, models__add__deadline="10s") as (server, _):
        assert answer(infer(server.grpc)) == ONES
        with ThreadPoolExecutor(16) as pool:
            assert list(pool.map(lambda _: answer(infer(server.grpc)), range(64))) == [ONES] * 64
        assert max(most) <= 2
        assert server.application.upstreams[0].failures == 0


def test_a_window_that_shrinks_below_nothing_is_waited_for() -> None:
    """Bodies are larger than the window that the upstream leaves them."""

    def behave(r: Request) -> None:
        if r.number == 0:
            r.connection.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 40})
        r.answer()

    with behind(behave, models__add__deadline="10s") as (server, _):
        assert [answer(infer(server.grpc)) for _ in range(4)] == [ONES] * 4


def test_windows_are_opened_as_answers_are_read() -> None:
    large = answer_message(b"\0\0\x80\x3f" * 225_000)
    with behind(lambda r: r.answer(large)) as (server, _):
        for _ in range(30):
            assert answer(infer(server.grpc))[-1] == 1.0


def test_a_ping_is_answered_with_its_own_bytes() -> None:
    def behave(r: Request) -> None:
        r.connection.h2.ping(b"reply to")
        r.answer()

    with behind(behave) as (server, upstream):
        assert answer(infer(server.grpc)) == ONES
        wait_until(lambda: upstream.pongs == [b"reply to"], "the answer to the ping")
