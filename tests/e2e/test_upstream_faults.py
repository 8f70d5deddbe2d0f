"""Upstreams that break: what they send that no sound server would, and what becomes of the requests behind it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from hyperframe.frame import GoAwayFrame

from tests.e2e.messages import Stub, request
from tests.e2e.raw_upstream import HEADERS, Behaviour, RawUpstream, Request, answer_message, raw_upstream
from tests.e2e.test_upstreams import ROW, answer, in_front, infer
from tests.support import EmbeddedServer, wait_until

INTERNAL_ERROR, REFUSED_STREAM, CANCEL = 2, 7, 8
ONES = [1.0, 1.0, 1.0, 1.0]
FALLBACK = {"models__add__fallback": "[{value: {y: [[0, 0, 0, 0]]}}]"}
UNGATED = {"models__add__admission": "{concurrency: off}"}


@contextlib.contextmanager
def behind(
    behave: Behaviour, window: int | None = None, **settings: Any
) -> Iterator[tuple[EmbeddedServer, RawUpstream]]:
    """A server in front of one raw upstream; nothing of any request may be left when it ends."""
    with raw_upstream(behave, window) as upstream, in_front([upstream.address], **settings) as server:
        yield server, upstream
        nothing_is_left(server)


@contextlib.contextmanager
def beside_a_sound_one(behave: Behaviour, **settings: Any) -> Iterator[EmbeddedServer]:
    """A server in front of a pool of two: the first behaves so, the second answers."""
    with (
        raw_upstream(behave) as upstream,
        raw_upstream(Request.answer) as sound,
        in_front([upstream.address, sound.address], **settings) as server,
    ):
        yield server
        nothing_is_left(server)


def nothing_is_left(server: EmbeddedServer) -> None:
    data_plane = server.application.server
    assert data_plane is not None

    def left() -> dict[str, int]:
        totals = data_plane.totals()
        found = {name: totals[name] for name in ("inflight", "inflight_bytes")}
        return found | {e.address: e.inflight for e in server.application.upstreams}

    wait_until(lambda: not any(left().values()), f"everything to be given back, and not {left()}")


def refused(server: EmbeddedServer, **options: Any) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as error:
        infer(server.grpc, **options)
    return error.value


def not_grpc(r: Request) -> None:
    r.headers_out((":status", "200"), ("content-type", "text/html"))
    r.data(b"<html>it works</html>", end=True)


def unavailable_by_http(r: Request) -> None:
    r.headers_out((":status", "503"), end=True)


def reset_in_the_middle(r: Request) -> None:
    r.headers_out()
    r.data(answer_message()[:20])
    r.reset(INTERNAL_ERROR)


def truncated(r: Request) -> None:
    r.answer(answer_message()[:-1])


def two_messages(r: Request) -> None:
    r.answer(answer_message() * 2)


def marked_as_compressed(r: Request) -> None:
    r.answer(b"\1" + answer_message()[1:])


def no_message(r: Request) -> None:
    r.headers_out()
    r.trailers()


def no_trailers(r: Request) -> None:
    r.headers_out()
    r.data(answer_message(), end=True)


def a_status_that_is_no_number(r: Request) -> None:
    r.headers_out()
    r.data(answer_message())
    r.trailers(("grpc-status", "fine"))


def well_in_the_headers(r: Request) -> None:
    r.headers_out(*HEADERS, ("grpc-status", "0"))
    r.data(answer_message())


def well_and_then_reset(r: Request) -> None:
    well_in_the_headers(r)
    r.reset(INTERNAL_ERROR)


def well_and_then_cut(r: Request) -> None:
    well_in_the_headers(r)
    r.connection.flush()
    r.connection.close()


def malformed_trailers(r: Request) -> None:
    r.headers_out()
    r.data(answer_message())
    r.trailers(("grpc-status", "0"), (":status", "200"))


GARBAGE = (
    not_grpc,
    unavailable_by_http,
    reset_in_the_middle,
    truncated,
    two_messages,
    marked_as_compressed,
    no_message,
    no_trailers,
    a_status_that_is_no_number,
    well_and_then_reset,
    well_and_then_cut,
    malformed_trailers,
)


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda g: g.__name__)
def test_what_is_no_answer_fails_the_request_and_counts_against_the_endpoint(garbage: Behaviour) -> None:
    with behind(garbage) as (server, _):
        lost = garbage is well_and_then_cut
        assert refused(server).code() is (grpc.StatusCode.UNAVAILABLE if lost else grpc.StatusCode.INTERNAL)
        assert server.application.upstreams[0].failures == 1


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda g: g.__name__)
def test_the_fallback_stands_in_for_what_is_no_answer(garbage: Behaviour) -> None:
    with behind(garbage, **FALLBACK) as (server, _):
        response = infer(server.grpc)
        assert answer(response) == [0.0, 0.0, 0.0, 0.0]
        assert response.parameters["modelward_fallback"].string_param == "failure"


def test_an_answer_beyond_the_limit_is_refused_and_not_the_endpoints_fault() -> None:
    def overflow(r: Request) -> None:
        r.headers_out()
        r.data(answer_message(b"\0" * 200_000))

    with behind(overflow, limits__message_size=100_000) as (server, upstream):
        assert "no room" in refused(server).details()
        wait_until(lambda: upstream.resets == [CANCEL], "the rest to be declined")
        assert server.application.upstreams[0].failures == 0


def test_an_error_without_a_body_is_passed_on_with_its_details() -> None:
    def fail(r: Request) -> None:
        status = (("grpc-status", "9"), ("grpc-message", "not%20now"), ("grpc-status-details-bin", "CAkSB25vdCBub3c"))
        r.headers_out(*HEADERS, *status, end=True)

    with behind(fail) as (server, _):
        error = refused(server)
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert error.details() == "not now"
        assert dict(error.trailing_metadata())["grpc-status-details-bin"] == b"\x08\x09\x12\x07not now"
        assert server.application.upstreams[0].failures == 0


def test_an_answer_in_frames_of_one_byte_is_put_together() -> None:
    def drip(r: Request) -> None:
        r.headers_out()
        for byte in answer_message():
            r.data(bytes([byte]))
        r.trailers()

    with behind(drip) as (server, _):
        assert answer(infer(server.grpc)) == ONES


def test_an_upstream_that_never_opens_its_window_stalls_its_own_requests_only() -> None:
    with raw_upstream(Request.answer, window=16) as stalled, raw_upstream(Request.answer) as sound:
        upstreams = {"models__other__upstreams": f"[{sound.address}]"}
        with in_front([stalled.address], models__add__deadline="5s", **upstreams) as server:
            endpoint = next(e for e in server.application.upstreams if e.address == stalled.address)
            with ThreadPoolExecutor(1) as pool:
                waiting = pool.submit(refused, server)
                wait_until(lambda: endpoint.inflight == 1, "the request to be on its way")
                assert answer(infer(server.grpc, model="other")) == ONES
                assert not waiting.done()
                assert waiting.result().code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert stalled.requests == 0
            nothing_is_left(server)


def test_an_answer_that_ends_after_the_deadline_reaches_no_client_and_is_counted() -> None:
    passed = threading.Event()

    def dawdle(r: Request) -> None:
        r.headers_out()
        r.data(answer_message())
        if r.number == 0:
            r.connection.flush()
            passed.wait(60)
        r.trailers()

    with raw_upstream(dawdle) as upstream:
        other = {"models__other__upstreams": f"[{upstream.address}]"}  # which has no deadline
        with in_front([upstream.address], models__add__deadline="200ms", **other) as server:
            assert refused(server).code() is grpc.StatusCode.DEADLINE_EXCEEDED
            passed.set()
            assert answer(infer(server.grpc, model="other")) == ONES
            wait_until(lambda: server.metric("modelward_late_results_total", model="add") == 1, "the late answer")
            nothing_is_left(server)


def test_requests_that_are_refused_unbegun_are_answered_by_another() -> None:
    def refuse(r: Request) -> None:
        r.reset(REFUSED_STREAM)

    with beside_a_sound_one(refuse, breaker="{ejection: 10m, max_ejection: 10m}") as server:
        assert [answer(infer(server.grpc)) for _ in range(60)] == [ONES] * 60
        refusing = server.application.upstreams[0]
        # five in a row eject it: the retries stay within their budget
        assert refusing.requests == refusing.failures == 5
        assert refusing.ejections == 1


def test_requests_beyond_a_goaway_are_answered_by_another() -> None:
    held: list[Request] = []

    def go_away(r: Request) -> None:
        if r.number >= 3:
            r.answer()
            return
        held.append(r)
        if len(held) == 3:
            goaway = GoAwayFrame(0, last_stream_id=held[0].stream, error_code=0)
            r.connection.send_raw(goaway.serialize())
            held[0].answer()

    with beside_a_sound_one(go_away) as server:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: answer(infer(server.grpc)), range(40)))
        assert answers == [ONES] * 40
        assert len(held) == 3
        assert all(e.failures == 0 and e.ejections == 0 for e in server.application.upstreams)
        wait_until(lambda: all(e.connected for e in server.application.upstreams), "the next connection")


def test_a_thousand_cancellations_leave_nothing_behind() -> None:
    def answer_one(r: Request) -> None:
        if r.number == 0:
            r.answer()

    with behind(answer_one, **UNGATED) as (server, upstream), Stub(server.grpc) as stub:
        endpoint = server.application.upstreams[0]
        assert answer(infer(server.grpc)) == ONES, "so that it is known how large answers are"
        message = request("add", {"x": ROW})
        for _ in range(20):
            calls = [stub.future(message) for _ in range(50)]
            wait_until(lambda: endpoint.inflight == 50, "all to be on their way")
            for call in calls:
                call.cancel()
            wait_until(lambda: endpoint.inflight == 0, "all to be let go")
        wait_until(lambda: len(upstream.resets) == 1_000, "the upstream to be told of each")
        assert endpoint.failures == 0


def test_a_connection_that_is_cut_fails_what_was_on_it_and_nothing_else() -> None:
    def cut(r: Request) -> None:
        if r.number == 0:
            r.connection.close()
        else:
            r.answer()

    with behind(cut) as (server, _):
        error = refused(server)
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert error.details() == "the upstream server was lost while it had the request, which may have run there"
        assert server.metric("modelward_refusals_total", model="add", reason="UPSTREAM_LOST") == 1
        wait_until(lambda: server.application.upstreams[0].connected, "the next connection")
        assert answer(infer(server.grpc)) == ONES
