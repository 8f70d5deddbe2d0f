"""What the soak sends: every kind of call, good and bad, and what each must end with."""

from __future__ import annotations

import functools
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from loadtests.fuzz.frames import literals, request_headers
from loadtests.race.contestant import WrongAnswer
from loadtests.race.ours import AMPLE
from loadtests.tools import client, models
from tests.models import repository, slow_loop, strings, two_inputs

LARGE_COLUMNS = 25_600
STREAM_LENGTH = 20
SLOW_STEPS = 200  # about 2 ms
SLEEPY_STEPS = 5_000  # about 50 ms, five of its deadlines
REMOTE, REMOTE_SLOW, REMOTE_LARGE = "remote", "remote-slow", "remote-large"


@dataclass(frozen=True)
class Kind:
    """One kind of call. share: of all of them. status: what it ends with. messages: all alike; one: a unary call."""

    name: str
    share: float
    message: bytes
    status: str = "OK"
    compressed: bool = False
    messages: int = 1

    @property
    def path(self) -> str:
        return client.INFER if self.messages == 1 else client.STREAM_INFER

    @functools.cached_property
    def body(self) -> bytes:
        one = gzip.compress(self.message) if self.compressed else self.message
        return self.messages * client.framed(one, compressed=self.compressed)

    @functools.cached_property
    def block(self) -> bytes:
        """Its header block, which is right on any connection at any time."""
        gzipped = [(b"grpc-encoding", b"gzip"), (b"grpc-accept-encoding", b"identity,gzip")]
        return literals(request_headers(self.path.encode(), gzipped if self.compressed else []))


def upstream_configuration(folder: Path) -> dict[str, Any]:
    """Of the servers behind: their models, written below `folder`."""
    files = {REMOTE: models.mlp(), REMOTE_SLOW: slow_loop(SLOW_STEPS), REMOTE_LARGE: models.tiled(LARGE_COLUMNS)}
    return {"repository": str(repository(folder / "models", files))}


def configuration(folder: Path, upstreams: Sequence[int]) -> dict[str, Any]:
    """Of the server that is soaked: its models, written below `folder`, and their guards; ports of upstreams."""
    mlp = models.mlp()
    root = repository(
        folder / "models",
        {
            models.MLP: mlp, "guarded": mlp, "limited": mlp, "slow": slow_loop(SLOW_STEPS),
            "sleepy": slow_loop(SLEEPY_STEPS), "strings": strings(), "pair": two_inputs(),
            "large": models.tiled(LARGE_COLUMNS),
        },
    )  # fmt: skip
    models.save_profile(folder / "profile.npz")
    value = {"label": [0], "probabilities": [[0.5, 0.5]]}
    profile = {"profile": str(folder / "profile.npz")}
    behind = {"upstreams": [f"127.0.0.1:{port}" for port in upstreams]}
    return {
        "repository": str(root),
        "health": {"interval": "1s"},  # a check opens a connection, the first time
        "limits": {
            "peer": AMPLE, "identity": AMPLE, "total": AMPLE, "connections": {"rate_per_peer": "100000/s"},
        },
        "models": {
            models.MLP: {"deadline": "5s", "limit": AMPLE, "anomaly": {**profile, "mode": "observe"}},
            "guarded": {"fallback": [{"value": value}], "anomaly": {**profile, "mode": "fallback"}},
            "limited": {"limit": {"rate": "1/h", "burst": 1}},
            "sleepy": {"deadline": "10ms", "fallback": [{"value": {"y": [[0.0, 0.0, 0.0, 0.0]]}}]},
            REMOTE: {**behind, "hedging": {}, "anomaly": {**profile, "mode": "observe"}},
            REMOTE_SLOW: {**behind, "retries": {"unanswered": True}},
            REMOTE_LARGE: behind,
        },
    }  # fmt: skip


@functools.cache
def kinds() -> list[Kind]:
    """The shares are the whole."""
    row = models.ordinary_row()
    ordinary, remote = _encoded(models.MLP, {"X": row}), _encoded(REMOTE, {"X": row})
    text = np.array([[b"some text", b"and a little more of it"]], dtype=object)
    pair: client.Inputs = {"a": np.ones((1, 3), np.float32), "b": np.ones((1, 2), np.int64)}
    four: client.Inputs = {"x": np.ones((1, 4), np.float32)}
    return [
        Kind("ordinary", 0.33, ordinary),
        Kind("thirty rows", 0.05, _encoded(models.MLP, {"X": models.training_rows()[:30]})),
        Kind("typed contents", 0.06, _typed(row)),
        Kind("gzip both ways", 0.08, ordinary, compressed=True),
        Kind("strings", 0.05, _encoded("strings", {"text": text})),
        Kind("two inputs", 0.05, _encoded("pair", pair)),
        Kind("a stream", 0.03, ordinary, messages=STREAM_LENGTH),
        Kind("slow", 0.02, _encoded("slow", four)),
        Kind("a large answer", 0.01, _encoded("large", four)),
        Kind("too slow, fallback", 0.005, _encoded("sleepy", four)),
        Kind("anomalous, fallback", 0.04, _encoded("guarded", {"X": models.outlier()})),
        Kind("refused by a limit", 0.05, _encoded("limited", {"X": row}), "RESOURCE_EXHAUSTED"),
        Kind("wrong shape", 0.03, _encoded(models.MLP, {"X": row[:, :29]}), "INVALID_ARGUMENT"),
        Kind("not protobuf", 0.02, b"\xff" * 64, "INVALID_ARGUMENT"),
        Kind("unknown model", 0.02, _encoded("breast-cancer-mpl", {"X": row}), "NOT_FOUND"),
        Kind("upstream", 0.08, remote),
        Kind("upstream, gzip both ways", 0.03, remote, compressed=True),
        Kind("upstream, a stream", 0.02, remote, messages=STREAM_LENGTH),
        Kind("upstream, slow", 0.01, _encoded(REMOTE_SLOW, four)),
        Kind("upstream, a large answer", 0.005, _encoded(REMOTE_LARGE, four)),
        Kind("upstream, wrong shape", 0.01, _encoded(REMOTE, {"X": row[:, :29]}), "INVALID_ARGUMENT"),
    ]


def _encoded(model: str, inputs: client.Inputs) -> bytes:
    encoded: bytes = client.request(model, inputs).SerializeToString()
    return encoded


def _typed(row: models.Floats) -> bytes:
    request = client.request(models.MLP, {"X": row})
    request.ClearField("raw_input_contents")
    request.inputs[0].contents.fp32_contents.extend(row.ravel().tolist())
    encoded: bytes = request.SerializeToString()
    return encoded


def check(channel: Any, kind: Kind) -> int | None:
    """Asks once with a real client; the framed size of the answer, where it is sent as it is. Raises WrongAnswer."""
    try:
        if kind.messages == 1:
            answers = [client.infer(channel, kind.message)]
        else:
            call = channel.stream_stream(client.STREAM_INFER)
            answers = list(call(iter([kind.message] * kind.messages), timeout=10.0))
    except grpc.RpcError as error:
        got, size = error.code().name, 0
    else:
        got, size = "OK", sum(len(client.framed(answer)) for answer in answers)
        if len(answers) != kind.messages:
            raise WrongAnswer(f"{kind.name}: {len(answers)} answers to {kind.messages} messages")
    if got != kind.status:
        raise WrongAnswer(f"{kind.name}: status {got} instead of {kind.status}")
    return None if kind.compressed else size
