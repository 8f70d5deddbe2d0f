"""A rung that gives the very same request the answer that it had before."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from tests.e2e.messages import RESPONSE, request
from tests.e2e.test_upstreams import INFER, ROW, TIMEOUT, answer, in_front
from tests.models import add_one, repository
from tests.support import EmbeddedServer, ServerProcess, serve_process, wait_until

LADDER = "[{last_good: {}}, {value: {y: [[0, 0, 0, 0]]}}]"


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[ServerProcess]:
    with serve_process(repository(tmp_path, {"add": add_one()})) as running:
        yield running


def ask(server: EmbeddedServer, row: np.ndarray, id: str) -> object:  # type: ignore[type-arg]
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
    with in_front([upstream.grpc], models__add__fallback=LADDER) as server:
        ask(server, ROW, "first")
        lose(server, upstream)
        again = ask(server, ROW, "second")
        assert answer(again) == [2.0, 3.0, 4.0, 5.0]
        assert again.id == "second"
        assert again.parameters["modelward_fallback_source"].string_param == "last_good"


def test_another_request_goes_on_to_the_next_rung(upstream: ServerProcess) -> None:
    with in_front([upstream.grpc], models__add__fallback=LADDER) as server:
        ask(server, ROW, "first")
        lose(server, upstream)
        other = ask(server, ROW + 1, "second")
        assert answer(other) == [0.0, 0.0, 0.0, 0.0]
        assert other.parameters["modelward_fallback_source"].string_param == "value"


def test_an_answer_that_is_too_old_is_none(upstream: ServerProcess) -> None:
    ladder = "[{last_good: {max_age: 1ms}}, {value: {y: [[0, 0, 0, 0]]}}]"
    with in_front([upstream.grpc], models__add__fallback=ladder) as server:
        ask(server, ROW, "first")
        lose(server, upstream)
        assert answer(ask(server, ROW, "second")) == [0.0, 0.0, 0.0, 0.0]
