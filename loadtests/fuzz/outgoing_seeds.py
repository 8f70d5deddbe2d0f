"""A starting corpus for the fuzzer of outgoing connections: python -m loadtests.fuzz.outgoing_seeds FOLDER

What a real server answered to grpcio, and programs that reach every step of outgoing_script.py.
"""

import struct
import sys
import tempfile
from pathlib import Path

import grpc

from loadtests.fuzz import outgoing_script as script
from loadtests.fuzz.seeds import PIECE, Recorder
from modelward.config.address import Address
from modelward.config.listen import Listen
from modelward.config.schema import Config
from modelward.server.embedded import in_thread
from tests import models

OWN_SETTINGS, PASSTHROUGH, SMALL, POOR, FEW = 1, 2, 4, 8, 16  # bits of the first byte
(
    INFER, _, STREAM, MESSAGE, RAW, ANSWER, _, HEADERS, DATA, RESET, GOAWAY, CONTROL, LOSE, TICK, ADVANCE, CLIENT,
) = range(16)  # fmt: skip
SECOND_UPSTREAM = 128
END = 128


def both(*steps: int) -> bytes:
    """The same at either upstream, since the request may be at either."""
    return bytes(steps) + bytes([steps[0] | SECOND_UPSTREAM, *steps[1:]])


def programs() -> dict[str, bytes]:
    """Each request answered in each way; each kind of step once."""
    made = {}
    for request in range(len(script.REQUESTS)):
        ask = bytes([0, INFER, request, TICK, 0])
        for answer in range(len(script.ANSWERS)):
            made[f"answer-{request}-{answer}"] = ask + both(ANSWER, 0, answer) + bytes([TICK, 1])
        for header in range(len(script.HEADERS)):
            made[f"headers-{request}-{header}"] = ask + both(HEADERS, 0, header) + both(HEADERS, 0, header | END)
        made[f"cut-{request}"] = ask + both(HEADERS, 0, 0) + both(DATA, 0, END, 9)
        made[f"padded-{request}"] = ask + both(HEADERS, 0, 0) + both(DATA, 0, 64, 5) + both(HEADERS, 0, 8 | END)
        made[f"lying-{request}"] = ask + both(HEADERS, 0, 0) + both(DATA, 0, 32 | END, 0, 255, 255, 255, 255)
        made[f"reset-{request}"] = ask + both(RESET, 4, 0) + both(RESET, 1, 0)
        made[f"goaway-{request}"] = ask + both(GOAWAY, 240, 0) + ask[1:] + both(ANSWER, 0, 0)
        made[f"lost-{request}"] = ask + both(LOSE, 0) + ask[1:] + both(LOSE, 1) + bytes([TICK, 3])
        made[f"late-{request}"] = ask + bytes([ADVANCE, 6]) + both(ANSWER, 0, 0)
        made[f"given-up-{request}"] = ask + bytes([CLIENT, 0, 0, TICK, 0]) + both(ANSWER, 0, 0)
        made[f"stream-{request}"] = (
            bytes([PASSTHROUGH, STREAM, request, MESSAGE, 0, 64 | request, TICK, 0])
            + both(ANSWER, 0, 5)
            + bytes([MESSAGE, 0, END, TICK, 0])
        )
        made[f"relayed-{request}"] = (
            bytes([PASSTHROUGH, STREAM, END | request, TICK, 0])
            + both(HEADERS, 0, 0)
            + both(DATA, 0, 5, 0)
            + both(LOSE, 0)
        )
    for metadata in range(len(script.METADATA)):
        made[f"metadata-{metadata}"] = bytes([PASSTHROUGH, INFER, metadata << 3, STREAM, END | metadata << 3, TICK, 0])
        made[f"metadata-{metadata}"] += both(ANSWER, 0, 0) + both(ANSWER, 1, 0)
    answered = bytes([INFER, 0, TICK, 0]) + both(ANSWER, 0, 0)
    made["silent"] = bytes([0]) + answered * 3 + bytes([INFER, 0, *([ADVANCE, 10, TICK, 0] * 3), ADVANCE, 15])
    made["silent-and-back"] = (
        bytes([0])
        + answered
        + bytes([INFER, 4, ADVANCE, 10, TICK, 0])
        + both(CONTROL, 1, 1)
        + bytes([INFER, 4, TICK, 0])
    )
    made["ejected"] = bytes([0]) + (bytes([INFER, 0, TICK, 0]) + both(HEADERS, 0, 10 | END)) * 8 + bytes([ADVANCE, 15])
    made["deaf"] = bytes([0, LOSE, 3, LOSE | SECOND_UPSTREAM, 3, *([INFER, 5] * 8), TICK, 0, LOSE, 2, ADVANCE, 15])
    made["shut-window"] = bytes([0]) + both(CONTROL, 0, 4 | 128) + bytes([INFER, 5, TICK, 0]) + both(CONTROL, 2, 20, 1)
    made["slow-client"] = (
        bytes([PASSTHROUGH, CLIENT, 1, STREAM, 1, TICK, 0])
        + both(ANSWER, 0, 1 | 192) * 4
        + bytes([CLIENT, 6, CLIENT, 3])
    )
    kept = bytes([INFER, script.MODELS.index("kept"), TICK, 0])
    made["last-good"] = bytes([0]) + kept + both(ANSWER, 0, 0) + kept + both(HEADERS, 1, 0) + both(HEADERS, 1, 10 | END)
    made["few"] = bytes([FEW, *([INFER, 0] * 6), TICK, 0]) + both(ANSWER, 0, 0)
    made["small"] = bytes([SMALL | POOR, INFER, 0, TICK, 0]) + both(ANSWER, 0, 1)
    return made


def recorded() -> bytes:
    """What a server says on one connection that asks for its model, and for one that it has not."""
    anywhere = Address(host="127.0.0.1", port=0)
    with tempfile.TemporaryDirectory() as folder:
        repository = models.repository(Path(folder), {"add": models.add_one()})
        with in_thread(Config(listen=Listen(grpc=anywhere, http=anywhere), repository=repository)) as application:
            recorder = Recorder(str(application.grpc_address))
            with grpc.insecure_channel(recorder.address) as channel:
                infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
                for index in (1, 0, 1):  # add, and bare, which it has not
                    try:
                        infer(script.REQUESTS[index], timeout=5)
                    except grpc.RpcError:
                        assert index == 0
            recorder.recording()
    return bytes(recorder.answered)


def main() -> None:
    folder = Path(sys.argv[1])
    seeds = programs()
    said = recorded()[:PIECE]
    for name, piece in (("real", 0), ("real-in-pieces", 7)):
        raw = b"".join(struct.pack(">BHB", step, len(said), piece) + said for step in (RAW, RAW | SECOND_UPSTREAM))
        seeds[name] = bytes([OWN_SETTINGS, INFER, 1, INFER, 0, INFER, 1, TICK, 0]) + raw + bytes([TICK, 1])
    for name, seed in seeds.items():
        (folder / name).write_bytes(seed)
    print(f"{len(seeds)} seeds, {sum(map(len, seeds.values()))} bytes")


if __name__ == "__main__":
    main()
