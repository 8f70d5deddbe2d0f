"""Model files that another process checks: what it tells, and a file that it dies of."""

from __future__ import annotations

import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from modelward import container_memory
from modelward.config.load import load
from modelward.integrity.version_files import VersionFiles
from modelward.models import reader, reading
from modelward.models.artifact import Artifact
from modelward.models.inventory import Inventory, Load, take_inventory
from modelward.models.model_file import load_artifact
from modelward.models.reader import Reader
from modelward.models.reading import LARGEST_FACTS, Facts, Gone, NoAnswer, Wire, artifact_of, facts_of
from modelward.problem import ProblemsFound
from modelward.repository.scan import Version
from tests import models

# of a process whose checks of some files never come to an end
COMMAND = (
    sys.executable,
    "-c",
    """
import os
from modelward.models import model_file, reader_process
check = model_file.check

def other(root, file, content, *given, **named):
    if b"deadly" in content[0]:
        os.abort()
    if b"greedy" in content[0]:
        bytes(1 << 45)
    if b"large" in content[0]:
        bytes(256 << 20)
    if b"faulty" in content[0]:
        raise RecursionError
    while b"endless" in content[0]:
        pass
    return check(root, file, content, *given, **named)

model_file.check = other
reader_process.main()
""",
)


def dividing() -> bytes:
    """A division that is changed, so that no request makes the processor trap."""
    nodes = [helper.make_node("Div", ["a", "b"], ["q"], name="halving")]
    inputs = [models.tensor(name, TensorProto.INT64, ["batch"]) for name in ("a", "b")]
    made: bytes = models.model(nodes, inputs, [models.tensor("q", TensorProto.INT64, ["batch"])]).SerializeToString()
    return made


def marked(word: str) -> bytes:
    model = onnx.load_model_from_string(models.add_one())
    model.producer_name = word
    return bytes(model.SerializeToString())


def inventory(folder: Path, at: Reader, *sets: str) -> Inventory:
    config = load(None, [f"repository={folder}", *sets], {})
    with at.reading(60) as load_unseen:
        return take_inventory(config, load_unseen)


def loaded(load: Load, file: Path) -> Artifact:
    return load("m", Version(1, file), VersionFiles(file.parent, file), True)


def problems(work: Callable[[], object]) -> list[str]:
    with pytest.raises(ProblemsFound) as found:
        work()
    return [str(problem) for problem in found.value.problems]


@pytest.fixture(scope="module")
def read() -> Iterator[Load]:
    with Reader().reading(60) as load_unseen:
        yield load_unseen


@pytest.mark.parametrize(
    "make",
    [models.mlp, models.strings, models.gru, models.convolutions, models.external_data, dividing],
    ids=lambda make: make.__name__,
)
def test_it_tells_what_a_check_here_tells(read: Load, tmp_path: Path, make: Callable[..., bytes]) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(make(tmp_path) if make is models.external_data else make())
    here = load_artifact(tmp_path, file, scan=True)
    assert loaded(read, file) == here
    assert (here.data == file.read_bytes()) == (make not in {models.external_data, dividing})


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: b"no model",
        lambda folder: models.custom_domain(),
        lambda folder: models.sequence_output(),
        lambda folder: models.external_data(folder, "missing", write=False),
        lambda folder: models.external_data(folder, "../outside", write=False),
    ],
    ids=["bytes", "domain", "sequence", "missing", "outside"],
)
def test_it_finds_the_problems_that_a_check_here_finds(
    read: Load, tmp_path: Path, make: Callable[[Path], bytes]
) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(make(tmp_path))
    assert problems(lambda: loaded(read, file)) == problems(lambda: load_artifact(tmp_path, file, scan=True))


def test_what_its_starter_has_in_memory_is_not_taken_for_its_own(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(b"no model")
    large = bytearray(b"x") * (1200 << 20)  # more than half of what it may take
    with Reader().reading(60) as load_unseen:
        (told,) = problems(lambda: loaded(load_unseen, file))
    assert len(large) and "memory" not in told


def test_what_it_logs_is_in_the_log_of_the_one_that_asks(
    read: Load, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file = tmp_path / "model.onnx"
    file.write_bytes(dividing())
    loaded(read, file)
    assert "node 'halving' (Div) is given operands" in caplog.text


def test_a_file_that_it_dies_of_is_refused_and_the_next_ones_are_read_by_another(tmp_path: Path) -> None:
    names = {f"{i}-{word}": marked(word) for i, word in enumerate(["sound", "deadly", "greedy", "faulty", "sound"])}
    found = inventory(models.repository(tmp_path, names), Reader(command=COMMAND))
    assert [model.name for model in found.models] == ["0-sound", "4-sound"]
    deadly, greedy, faulty = found.problems
    assert "gives no answer" in deadly.what
    assert deadly.why.startswith("it was killed by SIGABRT")
    assert "/1-deadly/1/model.onnx" in deadly.where
    assert deadly.how
    assert "too much memory" in greedy.what
    assert "RecursionError was raised" in faulty.why


def test_it_takes_no_more_memory_than_the_container_has_left(tmp_path: Path) -> None:
    scarce = "from modelward import container_memory\ncontainer_memory.room = lambda: 128 << 20\n"
    names = {"large": marked("large"), "sound": marked("sound")}
    folder = models.repository(tmp_path, names)
    found = inventory(folder, Reader(command=(*COMMAND[:2], scarce + COMMAND[2])))
    assert [model.name for model in found.models] == ["sound"]
    (large,) = found.problems
    assert large.what == "the model takes too much memory to be checked"
    assert large.why.startswith("it may take ")
    assert "give the container more memory" in large.how
    assert [model.name for model in inventory(folder, Reader(command=COMMAND)).models] == ["large", "sound"]


def test_one_that_the_kernel_has_killed_for_want_of_memory_is_told_so(
    tmp_path: Path, other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    other.channel.shutdown(socket.SHUT_WR)
    kills = iter((4, 5))
    monkeypatch.setattr(container_memory, "kills", lambda: next(kills))
    assert "it has ended, and the kernel has killed a process for want of memory" in answered(tmp_path, other)


def test_one_that_ends_where_memory_is_scarce_is_told_how_much_there_was(
    tmp_path: Path, other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    other.channel.shutdown(socket.SHUT_WR)
    monkeypatch.setattr(container_memory, "kills", lambda: 4)
    monkeypatch.setattr(container_memory, "room", lambda: 300 << 20)
    assert "it has ended, where the container had 300 MiB of memory left" in answered(tmp_path, other)


def test_one_that_never_answers_ends_by_its_own_alarm() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(COMMAND, stdin=theirs.fileno())
    wire = Wire(ours)
    wire.until = time.monotonic() + 60
    wire.receive()
    asked = {"root": "/", "file": "/m", "sha256": "", "fingerprint": [], "scan": False, "where": "m", "seconds": 1}
    wire.send(asked, b"endless")
    with pytest.raises(Gone):
        wire.receive()
    assert process.wait(60) == -signal.SIGALRM
    wire.close()


class Other:
    """The other end, which says what a test has it say."""

    def __init__(self) -> None:
        self.given, self.channel = socket.socketpair()
        self.wire = Wire(self.channel)
        self.wire.send({})


@pytest.fixture
def other() -> Iterator[Other]:
    made = Other()
    yield made
    made.channel.close()


def answered(folder: Path, other: Other) -> str:
    file = folder / "model.onnx"
    file.write_bytes(models.add_one())
    with Reader(other.given).reading(0.1) as load_unseen:
        (problem,) = problems(lambda: loaded(load_unseen, file))
    assert "gives no answer" in problem
    return problem


def test_one_that_is_silent_is_given_up_in_time(tmp_path: Path, other: Other, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "START_SECONDS", 0)
    assert "it took longer than 0.1 s" in answered(tmp_path, other)


def test_one_that_ends_in_the_middle_of_an_answer_has_given_none(tmp_path: Path, other: Other) -> None:
    other.channel.sendall(reading._HEAD.pack(100, 0) + b"{")
    other.channel.shutdown(socket.SHUT_WR)
    assert "it has ended" in answered(tmp_path, other)


@pytest.mark.parametrize("sizes", [(LARGEST_FACTS + 1, 0), (2, 2**40)])
def test_one_that_tells_too_much_is_not_listened_to(tmp_path: Path, other: Other, sizes: tuple[int, int]) -> None:
    other.channel.sendall(reading._HEAD.pack(*sizes))
    assert "which is too much" in answered(tmp_path, other)


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"lines": 1},
        {"lines": [], "artifact": {}, "same": True},
        {"lines": [], "problems": [{"what": "?"}]},
        {"wants": 1, "most": 1},
        {"wants": "x", "most": "?"},
    ],
)
def test_facts_that_were_not_asked_for_are_none(tmp_path: Path, other: Other, facts: dict[str, Any]) -> None:
    other.wire.send(facts)
    assert "other facts than it was asked for" in answered(tmp_path, other)


def test_what_is_no_object_is_no_facts(tmp_path: Path, other: Other) -> None:
    other.channel.sendall(reading._HEAD.pack(3, 0) + b"[1]")
    assert "it tells no facts" in answered(tmp_path, other)


def test_it_is_given_no_file_outside_of_the_models_folder(tmp_path: Path, other: Other) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    folder = tmp_path / "m"
    folder.mkdir()
    other.wire.send({"wants": str(tmp_path / "secret"), "most": 100})
    told: list[Any] = []

    def listen() -> None:
        other.wire.receive()
        told.append(other.wire.receive())
        other.channel.close()

    listening = threading.Thread(target=listen)
    listening.start()
    assert "it has ended" in answered(folder, other)
    listening.join(30)
    ((facts, data),) = told
    assert "leaves the model's folder" in facts["problems"][0]["what"]
    assert data == b""


def test_where_the_one_that_was_given_has_ended_another_is_started(tmp_path: Path) -> None:
    given, theirs = socket.socketpair()
    theirs.close()
    models.repository(tmp_path, {"m": models.add_one()})
    assert [model.name for model in inventory(tmp_path, Reader(given)).models] == ["m"]


def test_it_imports_nothing_of_what_checks_a_configuration() -> None:
    code = """
import runpy, socket, sys
ours, theirs = socket.socketpair()
ours.close()  # so that it ends when it has imported everything
import os
os.dup2(theirs.fileno(), 0)
os._exit = lambda code: print("onnx" in sys.modules, "pydantic" in sys.modules)
runpy.run_module("modelward.models", run_name="__main__")
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert told.split() == ["True", "False"]


def test_nothing_is_started_where_nothing_is_read() -> None:
    at = Reader(command=["/nonexistent"])
    with at.reading(60):
        pass


def test_facts_of_a_model_are_whole(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(models.gru())
    artifact = load_artifact(tmp_path, file, scan=True)
    assert artifact_of(facts_of(artifact), file, artifact.data) == artifact
    finding = {"rule": "none", "what": "", "file": "", "place": "", "more": 0}
    others: list[Facts] = [{"inputs": None}, {"findings": [finding]}, {"fingerprint": [[1]]}, {"words": []}]
    for other in others:
        with pytest.raises(NoAnswer):
            artifact_of({**facts_of(artifact), **other}, file, b"")
