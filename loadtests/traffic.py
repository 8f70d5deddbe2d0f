"""What the soak sends: every kind of request, good and bad, and what each must end with."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from loadtests.race.contestant import WrongAnswer
from loadtests.tools import client, h2load, models
from loadtests.tools.h2load import Shape
from proxy.server.protocol import message_class
from tests.models import repository, slow_loop, strings, two_inputs

BUSY, CHURN = Shape(8, 16), Shape(200, 1)
GZIP_HEADERS = ("grpc-encoding: gzip", "grpc-accept-encoding: identity,gzip")
STREAM_LENGTH = 100


@dataclass(frozen=True)
class Kind:
    """One kind of unary request, sent by h2load. share: of all requests. status: what each of them ends with."""

    name: str
    share: float
    message: bytes
    status: str = "OK"
    headers: tuple[str, ...] = ()
    shape: Shape = BUSY

    @property
    def body(self) -> bytes:
        compressed = self.headers == GZIP_HEADERS
        return client.framed(gzip.compress(self.message) if compressed else self.message, compressed=compressed)


@dataclass(frozen=True)
class Talk:
    """A kind of traffic that takes a gRPC client: send(channel, count) sends `count` requests."""

    name: str
    share: float
    send: Callable[[Any, int], None]


def configuration(folder: Path) -> dict[str, Any]:
    """The soak's models, written below `folder`, and their guards."""
    mlp = models.mlp()
    root = repository(
        folder / "models",
        {
            models.MLP: mlp, "guarded": mlp, "limited": mlp,
            "sleepy": slow_loop(5_000), "strings": strings(), "pair": two_inputs(),
        },
    )  # fmt: skip
    models.save_profile(folder / "profile.npz")
    ample = {"rate": "10000000/s", "burst": 1_000_000}
    value = {"label": [0], "probabilities": [[0.5, 0.5]]}
    profile = {"profile": str(folder / "profile.npz")}
    return {
        "repository": str(root),
        "limits": {
            "peer": ample, "identity": ample, "total": ample,
            "connections": {"rate_per_peer": "100000/s", "per_peer": 2 * CHURN.connections},
        },
        "models": {
            models.MLP: {"deadline": "5s", "limit": ample, "anomaly": {**profile, "mode": "observe"}},
            "guarded": {"fallback": [{"value": value}], "anomaly": {**profile, "mode": "fallback"}},
            "limited": {"limit": {"rate": "1/h", "burst": 1}},
            "sleepy": {"deadline": "10ms", "fallback": [{"value": {"y": [[0.0, 0.0, 0.0, 0.0]]}}]},
        },
    }  # fmt: skip


def kinds() -> list[Kind]:
    """The shares leave room for `TALKS`."""
    row = models.ordinary_row()
    ordinary = _encoded(models.MLP, {"X": row})
    text = np.array([[b"some text", b"and a little more of it"]], dtype=object)
    pair: client.Inputs = {"a": np.ones((1, 3), np.float32), "b": np.ones((1, 2), np.int64)}
    return [
        Kind("ordinary", 0.43, ordinary),
        Kind("a connection each", 0.01, ordinary, shape=CHURN),
        Kind("thirty rows", 0.05, _encoded(models.MLP, {"X": models.training_rows()[:30]})),
        Kind("typed contents", 0.08, _typed(row)),
        Kind("gzip both ways", 0.08, ordinary, headers=GZIP_HEADERS),
        Kind("strings", 0.07, _encoded("strings", {"text": text})),
        Kind("two inputs", 0.07, _encoded("pair", pair)),
        Kind("refused by a limit", 0.07, _encoded("limited", {"X": row}), "RESOURCE_EXHAUSTED"),
        Kind("wrong shape", 0.04, _encoded(models.MLP, {"X": row[:, :29]}), "INVALID_ARGUMENT"),
        Kind("not protobuf", 0.02, b"\xff" * 64, "INVALID_ARGUMENT"),
        Kind("unknown model", 0.03, _encoded("breast-cancer-mpl", {"X": row}), "NOT_FOUND"),
        Kind("anomalous, fallback", 0.04, _encoded("guarded", {"X": models.outlier()})),
        Kind("too slow, fallback", 0.005, _encoded("sleepy", {"x": np.ones((1, 4), np.float32)})),
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


def stream(channel: Any, count: int) -> None:
    """ModelStreamInfer calls of at most STREAM_LENGTH requests, every answer read. Raises WrongAnswer."""
    message = _encoded(models.MLP, {"X": models.ordinary_row()})
    call = channel.stream_stream(client.STREAM_INFER)
    response: Any = message_class("inference.ModelStreamInferResponse")
    while count > 0:
        length = min(count, STREAM_LENGTH)
        answers = [response.FromString(answer) for answer in call(iter([message] * length), timeout=60)]
        if len(answers) != length or any(answer.error_message for answer in answers):
            raise WrongAnswer(f"{len(answers)} answers to {length} requests of a stream, the last: {answers[-1:]}")
        count -= length


def cancel(channel: Any, count: int) -> None:
    """Calls that the client gives up at once, while the model is at them or before."""
    message = _encoded("sleepy", {"x": np.ones((1, 4), np.float32)})
    call = channel.unary_unary(client.INFER)
    for _ in range(count):
        call.future(message, timeout=60).cancel()
    client.infer(channel, message)  # answered after all of them


TALKS: Sequence[Talk] = (Talk("streams", 0.004, stream), Talk("cancelled", 0.001, cancel))


def check(channel: Any, kind: Kind) -> int | None:
    """Asks once with a real client; the framed size of the answer, where it is sent as it is. Raises WrongAnswer."""
    try:
        answer = client.infer(channel, kind.message)
    except grpc.RpcError as error:
        got, size = error.code().name, 0
    else:
        got, size = "OK", len(client.framed(answer))
    if got != kind.status:
        raise WrongAnswer(f"{kind.name}: status {got} instead of {kind.status}")
    return None if kind.headers else size


def send(port: int, kind: Kind, count: int, answer_bytes: int | None) -> None:
    """Raises WrongAnswer where the answers differ in size from the one that was checked, LoadFailed where some lack."""
    with tempfile.NamedTemporaryFile() as body:
        Path(body.name).write_bytes(kind.body)
        load = h2load.run(port, Path(body.name), count, kind.shape, kind.headers)
    if answer_bytes is not None and load.data_bytes != count * answer_bytes:
        raise WrongAnswer(f"{kind.name}: {load.data_bytes} bytes of answers to {count} requests of {answer_bytes} each")
