"""Heads of requests, read as bytes come: what is a request, and what is refused before more of it is kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.server.http_request import MAX_FIELD_BYTES, MAX_HEAD_BYTES, MAX_HEADERS, Malformed, Request, take_request

PROBE = b"GET /readyz?full=1 HTTP/1.1\r\nHost: a\r\nACCEPT:  text/plain \r\nAccept: */*\r\n\r\n"


def test_a_request_is_read_and_taken_off() -> None:
    data = bytearray(b"\r\n" + PROBE + b"GET")
    request = take_request(data)
    assert request == Request("GET", "/readyz", {"host": "a", "accept": "text/plain, */*"}, is_kept=True)
    assert data == b"GET"


@given(st.integers(0, len(PROBE) - 1))
def test_what_has_not_come_whole_is_waited_for(size: int) -> None:
    data = bytearray(PROBE[:size])
    assert take_request(data) is None
    data += PROBE[size:]
    assert take_request(data) == take_request(bytearray(PROBE))


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(before: bytes, after: bytes) -> None:
    data = bytearray(before + b" HTTP/1.1\r\n" + after + b"\r\n\r\n")
    size = len(data)
    try:
        request = take_request(data)
    except Malformed:
        return
    assert request is None or len(data) < size


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
    request = take_request(bytearray(f"GET / HTTP/{version}\r\nConnection: {connection}\r\n\r\n".encode()))
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
        take_request(bytearray(head + b"\r\n\r\n"))


def test_a_head_that_does_not_end_is_not_kept() -> None:
    with pytest.raises(Malformed):
        take_request(bytearray(b"GET / HTTP/1.1\r\n" + b"A: bcdefghij\r\n" * (MAX_HEAD_BYTES // 14)))
    with pytest.raises(Malformed):
        take_request(bytearray(b"G" * 3000))


@pytest.mark.parametrize(
    ("field", "has_body"),
    [("Content-Length: 0", False), ("Content-Length: 5", True), ("Transfer-Encoding: chunked", True), ("A: b", False)],
)
def test_a_body_is_noticed(field: str, has_body: bool) -> None:
    request = take_request(bytearray(f"POST / HTTP/1.1\r\n{field}\r\n\r\n".encode()))
    assert request is not None
    assert request.has_body == has_body


def test_a_target_with_a_host_is_its_path() -> None:
    request = take_request(bytearray(b"GET http://a:8002/metrics HTTP/1.1\r\n\r\n"))
    assert request is not None
    assert request.path == "/metrics"
