"""How the answers of a version are distributed is counted, of those that say something of the version."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from modelward.promotion.parts import Parts, Way
from modelward_native.shadow.evidence import CHANCE, KEY, counted
from modelward_native.shadow.sketch import SKETCH_ANSWER
from modelward_native.testing.shadow import score_cell
from tests import models
from tests.e2e.messages import Stub, request
from tests.support import EmbeddedServer, serving

REQUESTS = 480
LEAST, MOST = 4, 64  # of the 30 that are expected: drawn at random, and beyond this once in a million runs
VALUE = "[{value: {y: [[0, 0, 0, 0]]}}]"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """failing: only its fallback chain ever answers. x-user says who calls."""
    root = models.repository(
        tmp_path_factory.mktemp("models"),
        {"add": dict.fromkeys((1, 2), models.add_one()), "failing": dict.fromkeys((1, 2), models.add_one_below(1))},
    )
    with serving(
        root, {}, models__failing__fallback=VALUE, models__add__versions='{"1": 1, "2": 1}', sticky_header="x-user"
    ) as running:
        yield running


def ways(server: EmbeddedServer, name: str = "add") -> list[Way]:
    """Of both versions together."""
    region = server.application.region
    return (Parts(*counted(region, name, "1")) + Parts(*counted(region, name, "2"))).ways()


def cells(server: EmbeddedServer, name: str = "add") -> dict[int, float]:
    """Answers by the cell of their score."""
    every = sum(way.outputs.sum(axis=0) for way in ways(server, name))
    return {cell: count / SKETCH_ANSWER for cell, count in enumerate(every) if count}


def test_one_answer_in_sixteen_is_counted_by_its_scores_whatever_their_order(server: EmbeddedServer) -> None:
    with Stub(server.grpc) as stub:
        for i in range(REQUESTS):
            stub.infer(request("add", {"x": np.full((1, 4), [0, 2][i % 2], np.float32)}))
    found = cells(server)
    assert found.keys() == {score_cell(1), score_cell(3)}
    assert LEAST <= sum(found.values()) <= MOST
    assert min(found.values()) >= 1, "no more of the one than of the other"
    assert ways(server)[CHANCE].sampled.sum() == sum(found.values())


def test_a_header_that_decides_the_version_is_counted_apart_and_its_values_are_one_caller(
    server: EmbeddedServer,
) -> None:
    message = request("add", {"x": np.ones((1, 4), np.float32)})
    with Stub(server.grpc) as stub:
        for i in range(REQUESTS):
            stub.infer(message, metadata=[("x-user", f"user-{i}")])
    sampled = ways(server)[KEY].sampled
    assert LEAST <= sampled.sum() <= MOST
    assert (sampled > 0).sum() == 1, "the peer's address tells callers apart, and not what a client may choose"


def test_answers_that_say_nothing_of_a_promotion_are_not_counted(server: EmbeddedServer) -> None:
    before, x = cells(server), np.ones((1, 4), np.float32)
    with Stub(server.grpc) as stub:
        for _ in range(100):
            stub.infer(request("add", {"x": x}, version="1"))
            assert "modelward_fallback" in stub.infer(request("failing", {"x": x})).parameters
        assert len(list(stub.stream([request("add", {"x": x})] * 100))) == 100
    assert cells(server) == before
    assert cells(server, "failing") == {}
