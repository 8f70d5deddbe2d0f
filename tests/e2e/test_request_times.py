"""How long requests took, told apart by what became of them."""

from __future__ import annotations

import numpy as np
import pytest

from tests import models
from tests.conftest import Serve
from tests.e2e.h2client import H2Client, framed
from tests.e2e.messages import request

ROW = np.ones((1, 4), np.float32)


def test_refusals_answers_and_fallbacks_have_times_of_their_own(serve: Serve) -> None:
    value = {"y": [[0.0] * 4]}
    server = serve(
        {"add": models.add_one(), "slow": models.slow_loop(6_000)},
        models__slow={"deadline": "20ms", "fallback": [{"value": value}]},
        models__add={"limit": {"rate": "0.001/s", "burst": 3}},
    )

    def times(model: str) -> dict[str, float]:
        outcomes = ("ok", "fallback", "refused", "failed")
        counts = {o: server.metric("modelward_request_seconds_count", model=model, outcome=o) for o in outcomes}
        return {outcome: count for outcome, count in counts.items() if count}

    with H2Client(server.grpc) as client:
        for _ in range(8):
            client.call(framed(request("add", {"x": ROW}).SerializeToString()))
        assert client.call(framed(request("slow", {"x": ROW}).SerializeToString())).code == 0
    assert times("add") == {"ok": 3, "refused": 5}
    assert times("slow") == {"fallback": 1}


def test_versions_of_what_runs_are_told(serve: Serve) -> None:
    server = serve({"add": models.add_one()})
    assert server.metric("modelward_build_info") == 1
    (line,) = [line for line in server.page("/metrics")[1].splitlines() if line.startswith("modelward_build_info{")]
    for label in ("version", "python", "onnxruntime", "nghttp2"):
        assert f'{label}="' in line


@pytest.mark.parametrize("name", ["modelward_stage_seconds", "modelward_request_seconds"])
def test_the_help_says_what_is_counted(serve: Serve, name: str) -> None:
    server = serve({"add": models.add_one()})
    (line,) = [line for line in server.page("/metrics")[1].splitlines() if line.startswith(f"# HELP {name} ")]
    assert "of one message in 64" in line or "of every request" in line
