"""A starting corpus for the connection fuzzer: python -m loadtests.fuzz.seeds FOLDER

Recordings of real clients against a server of this process, and programs that reach every step of script.py. Where
MODELWARD_SHARED names a folder with data/h2corpus (recorded HTTP/2 attacks), those too; they are not ours to commit.
"""

import os
import socket
import struct
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tritonclient.grpc as triton

from loadtests.fuzz import script
from modelward.config.address import Address
from modelward.config.listen import Listen
from modelward.config.schema import Config
from modelward.rpc.protocol import message_class
from modelward.server.embedded import in_thread
from tests import models

PIECE = 65535  # bytes of one RAW step
OWN_PREFACE = 1
RAW, TICK = 0, 11
PROXY, ACCESS = 64, 128  # bits of the first byte
SECOND_CLIENT = 128


class Recorder:
    """Passes one connection on to a server and keeps what both say."""

    def __init__(self, server: str) -> None:
        host, port = server.rsplit(":", 1)
        self.said = bytearray()  # by the client
        self.answered = bytearray()  # by the server
        self.backend = (host, int(port))
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listening.getsockname()[1]}"
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        client, _ = self.listening.accept()
        with client, socket.create_connection(self.backend) as server:
            back = threading.Thread(target=pass_on, args=(server, client, self.answered), daemon=True)
            back.start()
            pass_on(client, server, self.said)
            back.join()

    def recording(self) -> bytes:
        self.thread.join()
        self.listening.close()
        return bytes(self.said)


def pass_on(source: socket.socket, target: socket.socket, kept: bytearray) -> None:
    try:
        while data := source.recv(65536):
            kept += data
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return  # either end may close first


def usual(address: str) -> None:
    """tritonclient: metadata, an answer, errors, gzip."""
    with triton.InferenceServerClient(address) as client:
        assert client.is_server_live()
        client.get_model_metadata("mlp")
        client.get_model_config("mlp")
        client.get_inference_statistics("mlp")
        client.get_model_repository_index()
        tensor = triton.InferInput("input", [1, 6], "FP32")
        tensor.set_data_from_numpy(np.zeros((1, 6), np.float32))
        client.infer("mlp", [tensor], request_id="1", client_timeout=5)
        client.infer("mlp", [tensor], compression_algorithm="gzip", outputs=[triton.InferRequestedOutput("label")])
        text = triton.InferInput("text", [1, 2], "BYTES")
        text.set_data_from_numpy(np.array([[b"a", b"bc"]], object))
        client.infer("strings", [text])
        for model, inputs in (("mlq", [tensor]), ("mlp", [text])):
            try:
                client.infer(model, inputs)
            except triton.InferenceServerException:
                continue
            raise AssertionError("a wrong request was answered")


def streaming(address: str) -> None:
    """tritonclient's stream of requests."""
    answers: list[Any] = []
    done = threading.Event()

    def answered(result: Any, error: Any) -> None:
        answers.append(error or result)
        if len(answers) == 3:
            done.set()

    tensor = triton.InferInput("input", [1, 6], "FP32")
    tensor.set_data_from_numpy(np.ones((1, 6), np.float32))
    with triton.InferenceServerClient(address) as client:
        client.start_stream(answered)
        for model in ("mlp", "nothing", "mlp"):
            client.async_stream_infer(model, [tensor], request_id=model)
        assert done.wait(10)
        client.stop_stream()


def cold(address: str) -> None:
    """grpcio: health, reflection."""
    check = message_class("grpc.health.v1.HealthCheckRequest")()
    ask = message_class("grpc.reflection.v1.ServerReflectionRequest")
    with grpc.insecure_channel(address) as channel:
        channel.unary_unary("/grpc.health.v1.Health/Check")(check.SerializeToString(), timeout=5)
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(check.SerializeToString(), timeout=5)
        next(watch)
        watch.cancel()
        questions = [
            ask(list_services="x"),
            ask(file_containing_symbol="inference.GRPCInferenceService"),
            ask(file_by_filename="no"),
        ]
        reflect = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        assert len(list(reflect(iter([q.SerializeToString() for q in questions]), timeout=5))) == 3


def as_script(recorded: bytes, piece: int = 0) -> bytes:
    """RAW steps with a tick of the loop behind each."""
    steps = bytearray([OWN_PREFACE])
    for at in range(0, len(recorded), PIECE):
        part = recorded[at : at + PIECE]
        steps += struct.pack(">BHB", RAW, len(part), piece) + part + bytes([TICK, 3])
    return bytes(steps)


def programs() -> dict[str, bytes]:
    """Each template as a unary call and in a stream; each kind of step once."""
    made = {}
    for index in range(len(script.TEMPLATES)):
        made[f"infer-{index}"] = bytes([0, 2, 0, 0, 0, index, 0, 11, 3])
        made[f"limited-{index}"] = bytes([2, *([2, 0, 0, 1, 7, index, 0, 11, 0] * 3)])
        made[f"stream-{index}"] = bytes(
            [0, 1, 0, 1, 0, *([4, 0, 0, index, 0, 255] * 3), 11, 3, 4, 0, 8, index, 0, 255, 11, 3]
        )
        made[f"gzip-{index}"] = bytes([0, 1, 0, 0, 2, 4, 7, 4, 0, 11, index, 0, 255, 11, 3])
    for path in range(len(script.PATHS)):
        made[f"path-{path}"] = bytes([0, 2, 0, path, 0, 16, 0, 11, 3, 2, 1, path, 1, 2, 14, 0, 11, 3, 12, 8])
    for header in range(len(script.HEADERS)):
        made[f"header-{header}"] = bytes([0, 2, 0, 0, 1, header, 0, 0, 11, 3])
    made["reset-while-running"] = bytes([0, 2, 0, 0, 0, 3, 0, 11, 0, 6, 0, 5, 11, 0, 2, 1, 0, 0, 3, 0, 11, 3])
    made["slow-reader"] = bytes(
        [0, 8, 4, 128, *([2, 0, 0, 0, 8, 0] * 3), 11, 0, 12, 24, 13, 1, 9, 255, 11, 1, 12, 24, 13, 0]
    )
    made["slow-request"] = bytes([0, 1, 0, 0, 0, 4, 0, 4, 0, 0, 0, 0, 1, 0, 255, 12, 16, 11, 3])
    made["drained"] = bytes([0, 2, 0, 0, 0, 3, 0, 15, 255, 11, 0, 14, 3, 11, 3])
    made["two-clients"] = bytes([0, 2, 0, 0, 0, 3, 0, 130, 0, 0, 0, 3, 0, 11, 0, 14, 0, 11, 0, 142, 2, 11, 3])
    for kind in range(4):  # gzip and deflate, whole and damaged
        bits = (kind & 1) << 4 | (kind & 2) << 4
        made[f"packed-{kind}"] = bytes([0, 1, 0, 0, 1, 4 if kind & 1 == 0 else 9, 16, 0, 128 | bits | 9, 0, 0])
        made[f"packed-{kind}"] += bytes([0, 30, 1] if kind & 2 else []) + bytes([255, 11, 3])
    told = [bytes([2, i, 0, 8, told, 0, 0, 11, 0]) for i, told in enumerate((*range(8), 130, 131, 192))]
    made["forwarded"] = bytes([2 | PROXY]) + b"".join(told)
    made["forwarded-at-once"] = bytes([2 | PROXY]) + b"".join(
        bytes([17, i, 40, 0, 9, i, 11, SECOND_CLIENT | 2, i, 0, 8, 64 + i, 0, 0, 11, 0]) for i in range(8)
    )
    for index, (name, _) in enumerate(script.HEADERS):
        if name in (b"authorization", b"x-api-key"):
            for decision in range(8):
                made[f"access-{index}-{decision}"] = bytes(
                    [ACCESS, *([2, 0, 0, 1, index, 0, 0, 18, decision, 11, 1] * 2)]
                )
    made["arrivals"] = bytes([32, *([9, 0, 14, 2, 11, 0] * 6)])
    return made


def recordings() -> dict[str, bytes]:
    anywhere = Address(host="127.0.0.1", port=0)
    made = {}
    with tempfile.TemporaryDirectory() as folder:
        repository = models.repository(Path(folder), {"mlp": models.mlp(6, 4), "strings": models.strings()})
        with in_thread(Config(listen=Listen(grpc=anywhere, http=anywhere), repository=repository)) as application:
            for client in (usual, streaming, cold):
                recorder = Recorder(str(application.grpc_address))
                client(recorder.address)
                made[client.__name__] = recorder.recording()
    return made


def main() -> None:
    folder = Path(sys.argv[1])
    seeds = programs()
    for name, recorded in recordings().items():
        seeds[f"client-{name}"] = as_script(recorded)
        seeds[f"client-{name}-in-pieces"] = as_script(recorded, 7)
    shared = os.environ.get("MODELWARD_SHARED")
    for file in sorted(Path(shared, "data", "h2corpus").glob("*/*")) if shared else ():
        seeds[f"h2-{file.name[:16]}"] = as_script(file.read_bytes())
    for name, seed in seeds.items():
        (folder / name).write_bytes(seed)
    print(f"{len(seeds)} seeds, {sum(map(len, seeds.values()))} bytes")


if __name__ == "__main__":
    main()
