"""What a process that reads model files (reader_process) is asked, and what it answers: plain facts, all bounded.

A frame is an object of JSON, and bytes beside it. Asked to check a file, the process may ask for the files that it
names. It answers with problems, or with what is known of the model.
"""

from __future__ import annotations

import json
import math
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec.structs import asdict

from modelward.models.artifact import Artifact
from modelward.problem import Problem
from modelward.repository.files import LARGEST_MODEL
from modelward.scanning.finding import Finding
from modelward.scanning.rules import RULES
from modelward.tensors import TensorSpec

Facts = dict[str, Any]

LARGEST_FACTS = 8 << 20  # bytes; a model of 512 tensors with all findings that a scan tells has one
PIECE = 1 << 20  # bytes that are received at a time
_HEAD = struct.Struct("!IQ")


class NoAnswer(Exception):
    """The other side does not keep to this, and why, in words."""


class Gone(NoAnswer):
    """It has ended."""


class Late(NoAnswer):
    """Its time is over."""


class Wire:
    """until: monotonic seconds, the end of time. All calls raise NoAnswer."""

    def __init__(self, channel: socket.socket) -> None:
        self.until = math.inf
        self._channel = channel

    def send(self, facts: Mapping[str, Any], data: bytes = b"") -> None:
        told = json.dumps(facts).encode()
        for given in (_HEAD.pack(len(told), len(data)), told, data):
            left = memoryview(given)
            while left:
                with self._timed() as channel:
                    left = left[channel.send(left[:PIECE]) :]

    def receive(self) -> tuple[Facts, bytes]:
        told, size = _HEAD.unpack(self._exactly(_HEAD.size))
        if told > LARGEST_FACTS or size > LARGEST_MODEL:
            raise NoAnswer(f"it tells {told + size} bytes, which is too much")
        try:
            facts = json.loads(self._exactly(told))
        except (ValueError, RecursionError):
            facts = None
        if not isinstance(facts, dict):
            raise NoAnswer("it tells no facts")
        return facts, self._exactly(size)

    def close(self) -> None:
        self._channel.close()

    def _exactly(self, size: int) -> bytes:
        pieces = []
        while size:
            with self._timed() as channel:
                piece = channel.recv(min(size, PIECE))
            if not piece:
                raise Gone("it has ended")
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    @contextmanager
    def _timed(self) -> Iterator[socket.socket]:
        left = self.until - time.monotonic()
        try:
            self._channel.settimeout(None if left == math.inf else max(0.001, left))
            yield self._channel
        except TimeoutError:
            raise Late("its time is over") from None
        except OSError:
            raise Gone("it has ended") from None


@contextmanager
def well_formed() -> Iterator[None]:
    """Around what takes facts apart: raises NoAnswer where they are others."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise NoAnswer("it tells other facts than it was asked for") from error


def told(problems: Sequence[Problem]) -> list[dict[str, str]]:
    return [problem.as_json() for problem in problems]


def problems_of(facts: Sequence[Mapping[str, str]]) -> list[Problem]:
    """Raises NoAnswer."""
    with well_formed():
        return [Problem(*(str(each[key]) for key in ("what", "where", "why", "how"))) for each in facts]


def facts_of(artifact: Artifact) -> Facts:
    """Of all but its bytes."""
    return {
        "sha256": artifact.sha256,
        "inputs": [asdict(spec) for spec in artifact.inputs],
        "outputs": [asdict(spec) for spec in artifact.outputs],
        "opset": artifact.opset,
        "words": [artifact.unpredictable, artifact.unproven, artifact.entangled, artifact.costly],
        "deadly": artifact.deadly,
        "files": [str(file) for file in artifact.files],
        "hashes": artifact.hashes,
        "fingerprint": artifact.fingerprint,
        "findings": None if artifact.findings is None else [asdict(finding) for finding in artifact.findings],
    }


def artifact_of(facts: Facts, file: Path, data: bytes) -> Artifact:
    """data: for ONNX Runtime. Raises NoAnswer."""
    with well_formed():
        unpredictable, unproven, entangled, costly = map(str, facts["words"])
        return Artifact(
            file,
            data,
            str(facts["sha256"]),
            _specs(facts["inputs"]),
            _specs(facts["outputs"]),
            int(facts["opset"]),
            unpredictable,
            unproven,
            tuple(map(Path, facts["files"])),
            tuple(map(str, facts["hashes"])),
            tuple(None if seen is None else _identity(*map(int, seen)) for seen in facts["fingerprint"]),
            entangled,
            costly,
            tuple(map(str, facts["deadly"])),
            None if facts["findings"] is None else tuple(map(_finding, facts["findings"])),
        )


def _specs(facts: Sequence[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            str(each["name"]),
            str(each["datatype"]),
            tuple(map(int, each["shape"])),
            tuple(None if symbol is None else str(symbol) for symbol in each["symbols"]),
        )
        for each in facts
    )


def _finding(facts: Mapping[str, Any]) -> Finding:
    rule, what, file, place = (str(facts[key]) for key in ("rule", "what", "file", "place"))
    finding = Finding(rule, what, file, place, int(facts["more"]))
    if finding.rule not in RULES:
        raise ValueError(f"there is no rule {finding.rule}")
    return finding


def _identity(device: int, inode: int, size: int, mtime: int, ctime: int) -> tuple[int, int, int, int, int]:
    return device, inode, size, mtime, ctime
