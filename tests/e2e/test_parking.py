"""Clients that take their answers late: what their connection owes is bounded, and what is behind waits unbegun."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import h2.events
import numpy as np

from loadtests.attack.arena import COLUMNS, MiB, amplifier
from tests.conftest import Serve
from tests.e2e.h2client import H2Client, framed
from tests.e2e.messages import RESPONSE, STREAM_INFER, STREAM_RESPONSE, request
from tests.models import add_one
from tests.support import EmbeddedServer, wait_until

CALLS = 40
BEGUN = 26  # answers of 1 MiB and a little: 24 MiB that windows hold back, and 2 MiB more
DEADLINE_EXCEEDED = 4


def asked(i: int = 0) -> bytes:
    """A request that is answered in 1 MiB."""
    message = request("amplifier", {"x": np.full((1, 1), i, np.float32)})
    message.id = str(i)
    return framed(message.SerializeToString())


def inflight(server: EmbeddedServer) -> int:
    return int(server.application.server.totals()["inflight"])


def runs_of(server: EmbeddedServer, code: str = "OK") -> float:
    return server.metric("modelward_requests_total", model="amplifier", code=code)


@contextmanager
def shut(server: EmbeddedServer) -> Iterator[H2Client]:
    """A client whose windows are shut until `open_windows`."""
    with H2Client(server.grpc, window=0) as client:
        client.read_until(lambda: client.h2.remote_settings.max_concurrent_streams == 128)
        yield client


def open_window(client: H2Client, stream: int) -> None:
    client.h2.increment_flow_control_window(2**30, stream)
    client.flush()


def open_windows(client: H2Client, streams: list[int]) -> None:
    client.h2.increment_flow_control_window(2**30)
    for stream in streams:
        open_window(client, stream)


def ask(client: H2Client, count: int) -> list[int]:
    streams = [client.begin() for _ in range(count)]
    for i, stream in enumerate(streams):
        client.send(stream, asked(i), end=True)
    return streams


def check(client: H2Client, streams: list[int]) -> None:
    """Every stream has the answer to its own request."""
    for i, stream in enumerate(streams):
        reply = client.reply(stream)
        assert reply.code == 0
        answer = RESPONSE.FromString(reply.messages[0][1])
        assert answer.id == str(i)
        assert (np.frombuffer(answer.raw_output_contents[0], np.float32) == i).all()
        assert len(answer.raw_output_contents[0]) == 4 * COLUMNS


def test_what_is_behind_untaken_answers_is_begun_when_they_are_taken_and_in_order(serve: Serve) -> None:
    server = serve({"amplifier": amplifier()})
    with shut(server) as client:
        streams = ask(client, CALLS)
        wait_until(lambda: inflight(server) == CALLS - BEGUN, "the first to be answered")
        assert runs_of(server) == BEGUN
        open_windows(client, streams)
        check(client, streams)
        begun = [e.stream_id for e in client.events if isinstance(e, h2.events.ResponseReceived)]
        assert begun == streams
    wait_until(lambda: inflight(server) == 0, "all to end")


def test_an_answer_is_owed_whole_until_its_last_byte_is_taken(serve: Serve) -> None:
    server = serve({"amplifier": amplifier()})
    with H2Client(server.grpc, window=MiB) as client:
        client.read_until(lambda: client.h2.remote_settings.max_concurrent_streams == 128)
        client.h2.increment_flow_control_window(2**30)
        streams = ask(client, CALLS)
        client.read_until(lambda: all(len(client.replies[s].data) == MiB for s in streams[:BEGUN]))
        wait_until(lambda: inflight(server) == CALLS - BEGUN, "the others to wait")
        for stream in streams:
            client.h2.increment_flow_control_window(2 * MiB, stream)
        client.flush()
        check(client, streams)


def test_answers_that_are_small_keep_nothing_waiting(serve: Serve) -> None:
    server = serve({"add": add_one()})
    with shut(server) as client:
        body = framed(request("add", {"x": np.ones((1, 4), np.float32)}).SerializeToString())
        for _ in range(128):
            client.send(client.begin(), body, end=True)
        wait_until(lambda: server.metric("modelward_requests_total", model="add", code="OK") == 128, "all answers")


def test_a_parked_request_ends_at_its_deadline(serve: Serve) -> None:
    server = serve({"amplifier": amplifier()})
    with shut(server) as client:
        streams = ask(client, CALLS)
        late = client.begin(headers=[("grpc-timeout", "100m")])
        client.send(late, asked(), end=True)
        assert client.reply(late).code == DEADLINE_EXCEEDED
        wait_until(lambda: inflight(server) == CALLS - BEGUN, "the first to be answered")
        open_windows(client, streams)
        check(client, streams)


def test_the_fallback_chain_answers_for_a_parked_request_whose_time_is_over(serve: Serve) -> None:
    server = serve({"amplifier": amplifier(), "add": add_one()}, models__add__fallback="[value: {y: [[7, 7, 7, 7]]}]")
    with shut(server) as client:
        streams = ask(client, CALLS)
        late = client.begin(headers=[("grpc-timeout", "100m")])
        client.send(late, framed(request("add", {"x": np.ones((1, 4), np.float32)}).SerializeToString()), end=True)
        open_window(client, late)
        reply = client.reply(late)
        assert (reply.code, reply.trailers["modelward-fallback"]) == (0, "deadline")
        wait_until(lambda: inflight(server) == CALLS - BEGUN, "the first to be answered")
        open_windows(client, streams)
        check(client, streams)


def test_a_parked_request_that_is_reset_is_forgotten(serve: Serve) -> None:
    server = serve({"amplifier": amplifier()})
    with shut(server) as client:
        streams = ask(client, CALLS)
        for gone in (streams.pop(), streams.pop(35), streams.pop(30)):
            client.reset(gone)
        wait_until(lambda: runs_of(server, "CANCELLED") == 3, "the requests to be given up")
        wait_until(lambda: inflight(server) == CALLS - BEGUN - 3, "the others to wait")
        open_windows(client, streams)
        assert [client.reply(stream).code for stream in streams] == [0] * len(streams)
        assert runs_of(server) == CALLS - 3


def test_a_connection_that_goes_takes_what_it_parked_with_it(serve: Serve) -> None:
    server = serve({"amplifier": amplifier()})
    with shut(server) as client:
        ask(client, CALLS)
        wait_until(lambda: inflight(server) == CALLS - BEGUN, "the first to be answered")
    totals = server.application.server.totals
    wait_until(lambda: (totals()["inflight"], totals()["inflight_bytes"]) == (0, 0), "everything to be let go")
    assert runs_of(server) == BEGUN


def test_the_messages_of_a_stream_wait_likewise_and_are_answered_in_order(serve: Serve) -> None:
    server = serve({"amplifier": amplifier()})
    with shut(server) as client:
        stream = client.begin(STREAM_INFER)
        client.send(stream, b"".join(asked(i) for i in range(CALLS)), end=True)
        wait_until(lambda: runs_of(server) == BEGUN, "the first to be answered")
        assert inflight(server) > 0
        open_windows(client, [stream])
        answers = [STREAM_RESPONSE.FromString(m).infer_response for _, m in client.reply(stream).messages]
        assert [answer.id for answer in answers] == [str(i) for i in range(CALLS)]


def test_an_honest_client_gets_every_answer_where_all_together_have_no_room(serve: Serve) -> None:
    server = serve({"amplifier": amplifier()}, limits__message_size="4MiB", limits__inflight_bytes="8MiB")
    with H2Client(server.grpc) as client:
        for _ in range(3):
            check(client, ask(client, 50))


def test_another_connection_is_not_kept_waiting(serve: Serve) -> None:
    server = serve({"amplifier": amplifier()})
    with shut(server) as client, H2Client(server.grpc) as other:
        ask(client, CALLS)
        wait_until(lambda: inflight(server) == CALLS - BEGUN, "the first to be answered")
        check(other, ask(other, CALLS))
        assert inflight(server) == CALLS - BEGUN


def test_an_upstream_is_not_asked_for_what_would_not_be_taken(serve: Serve) -> None:
    back = serve({"amplifier": amplifier()})
    server = serve({"add": add_one()}, models__amplifier__upstreams=f"[{back.grpc}]")
    with H2Client(server.grpc) as client:
        check(client, ask(client, 1))  # how large its answers are, only they tell
    with shut(server) as client:
        streams = ask(client, CALLS)
        wait_until(lambda: inflight(server) == CALLS - BEGUN, "the first to be answered")
        assert runs_of(back) == 1 + BEGUN
        assert server.application.server.totals()["inflight_bytes"] < 2 * CALLS * MiB
        open_windows(client, streams)
        check(client, streams)
