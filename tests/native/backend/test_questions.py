"""The session under questions to upstreams: any bytes of a server end in answers or in one error."""

from __future__ import annotations

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from hypothesis import given
from hypothesis import strategies as st

from modelward_native.backend.questions import Session

HEADERS = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a/b"), (b":authority", b"a")]


@given(st.lists(st.binary(max_size=64), max_size=8))
def test_no_bytes_do_more_than_end_it(pieces: list[bytes]) -> None:
    session = Session()
    session.ask(HEADERS, b"body")
    session.take()
    try:
        for piece in pieces:
            assert session.receive(piece) == []
            session.take()
    except ValueError:
        return


@given(st.integers(0, 200), st.integers(0, 255))
def test_a_damaged_answer_is_an_answer_or_an_error(at: int, byte: int) -> None:
    session, server = Session(), H2Connection(H2Configuration(client_side=False))
    stream = session.ask(HEADERS, b"body")
    server.initiate_connection()
    server.receive_data(session.take())
    server.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
    server.send_data(stream, b"answer" * 10)
    server.send_headers(stream, [("grpc-status", "0")], end_stream=True)
    data = bytearray(server.data_to_send())
    data[at % len(data)] = byte
    try:
        over = session.receive(bytes(data))
        session.take()
    except ValueError:
        return
    assert [number for number, _ in over] in ([], [stream])


def test_a_question_that_nobody_waits_for_is_forgotten() -> None:
    session = Session()
    stream = session.ask(HEADERS, b"")
    session.cancel(stream)
    session.cancel(stream)
    assert session.is_usable
    assert session.ask(HEADERS, b"") == stream + 2


def test_a_header_that_is_none_is_refused() -> None:
    with pytest.raises((ValueError, TypeError)):
        Session().ask([(b":path",)], b"")  # type: ignore[list-item]
