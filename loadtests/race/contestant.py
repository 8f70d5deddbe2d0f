"""What a contestant of the race is: how it is started, what it must answer, how much load it gets."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from loadtests.tools import client, models
from loadtests.tools.process import Process

REFUSED = "RESOURCE_EXHAUSTED"


class Absent(RuntimeError):
    """This contestant cannot run here; the message says why and how it could."""


class WrongAnswer(RuntimeError):
    """A contestant answers something else than it must: its CPU time would mean nothing."""


@dataclass(frozen=True)
class Running:
    """A started contestant.

    answer_bytes: framed size of each answer, 0 where every request is refused. trust: PEM of its certificate's
    authority; None where it speaks plain text. metadata: of every request.
    """

    process: Process
    port: int
    answer_bytes: int
    trust: bytes | None = None
    metadata: client.Metadata = ()


@dataclass(frozen=True)
class Contestant:
    """prepare(folder) makes what it needs (folder is its own) and returns the command for a port; it may raise Absent.

    share: of the requests that the quick ones get, so that a slow one does not take the evening. metadata(folder): what
    every request has to bring, once prepared.
    """

    name: str
    about: str
    prepare: Callable[[Path], Callable[[int], AbstractContextManager[Process]]]
    share: float = 1.0
    status: str = "OK"
    metadata: Callable[[Path], client.Metadata] = lambda _folder: ()


def check(contestant: Contestant, port: int, trust: bytes | None = None, metadata: client.Metadata = ()) -> int:
    """Asks once with a real client; the framed size of the answer, 0 for a refusal. Raises WrongAnswer."""
    message = request()
    with client.channel(port, trust) as opened:
        got = client.status(opened, message, metadata)
        if got != contestant.status:
            raise WrongAnswer(f"{contestant.name}: status {got} instead of {contestant.status}")
        if got != "OK":
            return 0
        answer = client.infer(opened, message, metadata=metadata)
    expected = expected_probabilities()
    try:
        found = client.output(answer, "probabilities")
    except ValueError as error:  # no such output, or not the bytes that its shape says
        raise WrongAnswer(f"{contestant.name}: {error}") from error
    if found.shape != expected.shape or not np.allclose(found, expected, atol=1e-5):
        raise WrongAnswer(f"{contestant.name}: probabilities {found.tolist()} instead of {expected.tolist()}")
    return len(client.framed(answer))


def request() -> bytes:
    """The 156-byte ModelInferRequest that everybody gets: one ordinary row."""
    encoded: bytes = client.request(models.MLP, {"X": models.ordinary_row()}).SerializeToString()
    return encoded


def expected_probabilities() -> models.Floats:
    """[1, 2]: what the model itself says to that row."""
    probabilities: models.Floats = onnxruntime.InferenceSession(models.mlp()).run(
        ["probabilities"], {"X": models.ordinary_row()}
    )[0]
    return probabilities
