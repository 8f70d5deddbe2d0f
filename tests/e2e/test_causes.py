"""Why a run has failed, in the runtime's words: for callers who are known by name, and without what is internal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from modelward.access import keys
from tests import models
from tests.e2e.messages import Array, Stub, arrays, refused, request
from tests.support import EmbeddedServer, serving

INTERNAL = re.compile(r"/|\\|::|\.cc|0x|Name:|onnxruntime", re.IGNORECASE)
PLAIN = "the model failed on this input"


def row(value: float) -> dict[str, Array]:
    return {"x": np.full((1, 4), value, np.float32)}


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EmbeddedServer, str]]:
    """A server, and alice's key."""
    folder: Path = tmp_path_factory.mktemp("causes")
    made, text = keys.make("alice")
    with keys.editing(folder / "keys.json") as kept:
        kept[made.id] = made
    rules = [{"identity": "alice", "by": "key", "models": "*"}, {"anonymous": True, "models": "*"}]
    repository = {"below": models.add_one_below(100), "div": models.dividing()}
    with serving(folder / "models", repository, access={"keys": str(folder / "keys.json"), "rules": rules}) as server:
        yield server, text


def test_a_known_caller_is_told_the_cause_without_internals(key: tuple[EmbeddedServer, str]) -> None:
    server, text = key
    with Stub(server.grpc) as stub:
        found = refused(stub, request("below", row(500)), metadata=(("x-api-key", text),))
        assert found.code is grpc.StatusCode.INTERNAL
        assert found.message.startswith(f"{PLAIN}: ")
        assert "idx=500 must be within the inclusive range [-100,99]" in found.message
        assert not INTERNAL.search(found.message.removeprefix(PLAIN))
        divided = request("div", {"a": np.ones((1, 2), np.int64), "b": np.zeros((1, 2), np.int64)})
        assert "Integer division by zero" in refused(stub, divided, metadata=(("x-api-key", text),)).message
        assert arrays(stub.infer(request("below", row(5))))["y"].tolist() == [[6] * 4]


def test_a_stranger_is_not_told(key: tuple[EmbeddedServer, str]) -> None:
    with Stub(key[0].grpc) as stub:
        assert refused(stub, request("below", row(500))).message == PLAIN
