"""Heads of requests, read as bytes come: what is a request, and what is refused before more of it is kept."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.server.http_request import (
    MAX_EMPTY_LINES,
    MAX_FIELD_BYTES,
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_LINE_BYTES,
    Malformed,
    Received,
    Request,
)

PROBE = b"GET /readyz?full=1 HTTP/1.1\r\nHost: a\r\nACCEPT:  text/plain \r\nAccept: */*\r\n\r\n"


def received(*pieces: bytes) -> Received:
    found = Received()
    for piece in pieces:
        found += piece
    return found


def first(data: bytes) -> Request | None:
    return received(data).take()


def test_a_request_is_read_and_taken_off() -> None:
    data = received(b"\r\n" + PROBE + b"GET")
    assert data.take() == Request("GET", "/readyz", {"host": "a", "accept": "text/plain, */*"}, is_kept=True)
    assert len(data) == 3


@given(st.lists(st.integers(0, len(PROBE)), max_size=8).map(sorted))
def test_a_head_is_the_same_in_whichever_pieces_it_comes(cuts: list[int]) -> None:
    data = Received()
    for begin, end in zip([0, *cuts], cuts, strict=False):
        data += PROBE[begin:end]
        if end < len(PROBE):
            assert data.take() is None
    data += PROBE[cuts[-1] if cuts else 0 :]
    assert data.take() == first(PROBE)
    assert not data


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(before: bytes, after: bytes) -> None:
    data = received(before + b" HTTP/1.1\r\n" + after + b"\r\n\r\n")
    size = len(data)
    try:
        request = data.take()
    except Malformed:
        return
    assert request is None or len(data) < size


def test_empty_lines_before_a_request_are_taken_while_they_are_few() -> None:
    assert first(MAX_EMPTY_LINES * b"\r\n" + PROBE) == first(PROBE)
    with pytest.raises(Malformed):
        first((MAX_EMPTY_LINES + 1) * b"\r\n" + PROBE)


def test_empty_lines_are_counted_however_they_come() -> None:
    data = Received()
    with pytest.raises(Malformed):
        for _ in range(MAX_EMPTY_LINES + 1):
            for byte in (b"\r", b"\n"):
                data += byte
                assert data.take() is None


def test_each_request_may_have_empty_lines_before_it() -> None:
    data = received((b"\r\n" + PROBE) * 10)
    assert [data.take() for _ in range(10)] == [first(PROBE)] * 10


WORST = {
    "empty lines": b"\r\n" * 500_000,
    "blanks in a value": b"GET / HTTP/1.1\r\nA:" + b" " * (MAX_FIELD_BYTES - 3) + b"\x01\r\n\r\n",
    "blanks and letters": b"GET / HTTP/1.1\r\nA:" + b" a" * (MAX_FIELD_BYTES // 2 - 2) + b"\x01\r\n\r\n",
    "blanks in many values": b"GET / HTTP/1.1\r\n" + (b"A:" + b" " * 4000 + b"\r\n") * 8 + b"\x01\r\n\r\n",
    "one long line": b"GET /" + b"a" * 1_000_000,
    "one name": b"GET / HTTP/1.1\r\n" + b"A: bcd\r\n" * 1000,
}


@pytest.mark.parametrize("data", WORST.values(), ids=WORST)
def test_what_is_sent_to_cost_time_costs_little(data: bytes) -> None:
    began = time.process_time()
    with pytest.raises(Malformed):
        first(data)
    assert time.process_time() - began < 0.05


def test_a_head_that_drips_in_is_looked_at_once() -> None:
    head = b"GET / HTTP/1.1\r\n" + b"".join(b"X%02d: %s\r\n" % (i, b"a" * 500) for i in range(MAX_HEADERS - 2))
    data, began = Received(), time.process_time()
    for i in range(len(head)):
        data += head[i : i + 1]
        assert data.take() is None
    assert time.process_time() - began < 0.3  # 0.02 s; 0.8 s where the whole head is cut into lines each time


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        ("1.1", "", True),
        ("1.1", "close", False),
        ("1.0", "", False),
        ("1.0", "Keep-Alive", True),
        ("1.1", "x, CLOSE", False),
    ],
)
def test_the_connection_lasts_as_the_client_says(version: str, connection: str, kept: bool) -> None:
    request = first(f"GET / HTTP/{version}\r\nConnection: {connection}\r\n\r\n".encode())
    assert request is not None
    assert request.is_kept == kept


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz",
        b"GET / HTTP/2.0",
        b"GET  / HTTP/1.1",
        b"GET /\x00 HTTP/1.1",
        b"GET / HTTP/1.1\r\nHost : a",
        b"GET / HTTP/1.1\r\n folded",
        b"GET / HTTP/1.1\r\nA: b\rc",
        b"GET / HTTP/1.1\r\nA: b\nc",
        b"GET / HTTP/1.1\r\nA: " + b"b" * MAX_FIELD_BYTES,
        b"GET / HTTP/1.1" + b"\r\nA: b" * (MAX_HEADERS + 1),
    ],
)
def test_what_no_probe_sends_is_refused(head: bytes) -> None:
    with pytest.raises(Malformed):
        first(head + b"\r\n\r\n")


def test_a_head_that_does_not_end_is_not_kept() -> None:
    with pytest.raises(Malformed):
        first(
            b"GET / HTTP/1.1\r\n"
            + (b"A: " + b"b" * (MAX_FIELD_BYTES - 3) + b"\r\n") * (MAX_HEAD_BYTES // MAX_FIELD_BYTES)
        )
    with pytest.raises(Malformed):
        first(b"G" * (MAX_LINE_BYTES + 2))


@pytest.mark.parametrize(
    ("field", "has_body"),
    [("Content-Length: 0", False), ("Content-Length: 5", True), ("Transfer-Encoding: chunked", True), ("A: b", False)],
)
def test_a_body_is_noticed(field: str, has_body: bool) -> None:
    request = first(f"POST / HTTP/1.1\r\n{field}\r\n\r\n".encode())
    assert request is not None
    assert request.has_body == has_body


def test_a_target_with_a_host_is_its_path() -> None:
    request = first(b"GET http://a:8002/metrics HTTP/1.1\r\n\r\n")
    assert request is not None
    assert request.path == "/metrics"
