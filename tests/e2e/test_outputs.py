"""How the answers of a version are distributed is counted, of those that say something of the version."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from native import figures
from native.compare import SKETCH_ANSWER, score_cell
from tests import models
from tests.e2e.messages import Stub, request
from tests.support import EmbeddedServer, serving

REQUESTS = 480
VALUE = "[{value: {y: [[0, 0, 0, 0]]}}]"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """failing: only its ladder ever answers. x-user says who calls."""
    root, served = tmp_path_factory.mktemp("models"), {"add": models.add_one(), "failing": models.add_one_below(1)}
    with serving(root, served, models__failing__fallback=VALUE, sticky_header="x-user") as running:
        yield running


def counted(server: EmbeddedServer, name: str = "add") -> dict[int, float]:
    """Answers by the cell of their score."""
    cells = figures.outputs(server.application.region, name, "1")
    return {cell: count / SKETCH_ANSWER for cell, count in enumerate(cells) if count}


def test_one_answer_in_sixteen_is_counted_by_its_scores_whatever_their_order(server: EmbeddedServer) -> None:
    with Stub(server.grpc) as stub:
        for i in range(REQUESTS):
            stub.infer(request("add", {"x": np.full((1, 4), [0, 2][i % 2], np.float32)}))
    found = counted(server)
    assert found.keys() == {score_cell(1), score_cell(3)}
    assert 20 <= sum(found.values()) <= 40
    assert min(found.values()) >= 5, "no more of the one than of the other"


def test_callers_are_told_apart_where_they_decide_the_version(server: EmbeddedServer) -> None:
    def callers() -> list[int]:
        return figures.callers(server.application.region, "add", "1")

    before, message = callers(), request("add", {"x": np.ones((1, 4), np.float32)})
    assert sum(count > 0 for count in before) >= 15, "each request was one by itself"
    with Stub(server.grpc) as stub:
        for i in range(REQUESTS):
            stub.infer(message, metadata=[("x-user", f"user-{i % 2}")])
    more = [after - count for after, count in zip(callers(), before, strict=True)]
    assert 20 <= sum(more) <= 40
    assert sum(count > 0 for count in more) == 2


def test_answers_that_say_nothing_of_a_promotion_are_not_counted(server: EmbeddedServer) -> None:
    before, x = counted(server), np.ones((1, 4), np.float32)
    with Stub(server.grpc) as stub:
        for _ in range(100):
            stub.infer(request("add", {"x": x}, version="1"))
            assert "modelward_fallback" in stub.infer(request("failing", {"x": x})).parameters
        assert len(list(stub.stream([request("add", {"x": x})] * 100))) == 100
    assert counted(server) == before
    assert counted(server, "failing") == {}
