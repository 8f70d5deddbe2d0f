"""What stands behind every contestant: nghttpd, which serves answers from files and computes nothing."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from loadtests.race import spike
from loadtests.race.contestant import Absent
from loadtests.tools import client, models
from loadtests.tools.process import Process, started
from modelward.rpc.protocol import INFERENCE_SERVICE, message_class


def upstream(folder: Path, port: int) -> AbstractContextManager[Process]:
    """Answers on 127.0.0.1:port as a server of the raced model would to the one request. Raises Absent."""
    binary = shutil.which("nghttpd")
    if binary is None:
        raise Absent("nghttpd is not installed: apt-get install nghttp2-server (Debian, Ubuntu)")
    service = folder / INFERENCE_SERVICE
    service.mkdir()
    (service / "ModelInfer").write_bytes(spike.answer())
    (service / "ModelMetadata").write_bytes(client.framed(_metadata().SerializeToString()))
    (service / "ServerReady").write_bytes(client.framed(b"\x08\x01"))  # ready: true
    options = ["--no-tls", "--address", "127.0.0.1", "--htdocs", str(folder), "--trailer", "grpc-status: 0"]
    return started("nghttpd", [binary, *options, str(port)])


def _metadata() -> Any:
    message = message_class("inference.ModelMetadataResponse")(name=models.MLP, versions=["1"])
    message.inputs.add(name="X", datatype="FP32", shape=[-1, models.FEATURES])
    message.outputs.add(name="label", datatype="INT64", shape=[-1])
    message.outputs.add(name="probabilities", datatype="FP32", shape=[-1, models.LAYERS[-1]])
    return message
