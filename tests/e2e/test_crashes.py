"""Workers that die of a run: their inputs are not run again, other models go on, an operator can pardon.

The smallest INT64 divided by -1 traps the processor; nothing in the shapes tells.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from modelward.cli.app import main
from tests import models
from tests.e2e.messages import Array, Refusal, Stub, arrays, parameters, refusal, request
from tests.support import ServerProcess, serve_process, wait_until

ROW = np.ones((1, 4), np.float32)
LONG = {"x": ROW, "steps": np.array([[10**9]])}  # minutes


def dividing(columns: int, *, deadly: bool) -> dict[str, Array]:
    smallest = np.iinfo(np.int64).min
    a = np.full((1, columns), smallest if deadly else 12, np.int64)
    return {"a": a, "b": np.full((1, columns), -1, np.int64)}


@contextlib.contextmanager
def serving(folder: Path, workers: int, *settings: str) -> Iterator[ServerProcess]:
    root, known = folder / "models", {"div": models.dividing(), "div_guarded": models.dividing()}
    for name, content in (known | {"add": models.add_one()}).items():
        if not (root / name).exists():
            models.repository(root, {name: content})
    value = '[{"value": {"y": [[7]]}}]'
    sets = [f"state={folder / 'state'}", f"workers={workers}", f"models.div_guarded.fallback={value}", *settings]
    with serve_process(root, *(argument for each in sets for argument in ("--set", each))) as running:
        yield running


def ask(server: ServerProcess, model: str, inputs: dict[str, Array]) -> dict[str, Array] | Refusal | None:
    """On a connection of its own: an answer, a refusal, or None where the connection was lost."""
    with Stub(server.grpc) as stub:
        try:
            return arrays(stub.infer(request(model, inputs)))
        except grpc.RpcError as error:
            if any(key == "grpc-status-details-bin" for key, _ in error.trailing_metadata() or ()):
                return refusal(error)
            return None


def is_contained(server: ServerProcess, model: str, columns: int) -> bool:
    found = ask(server, model, dividing(columns, deadly=False))
    return isinstance(found, Refusal) and found.reason == "CRASH"


def kill_one(server: ServerProcess, model: str, columns: int) -> None:
    """Sends the deadly input, and waits until a worker takes the place of the one that has died."""
    before = set(server.workers())
    assert ask(server, model, dividing(columns, deadly=True)) is None
    wait_until(lambda: len(set(server.workers()) - before) == 1 and all_ready(server, len(before)), "another worker")


def all_ready(server: ServerProcess, count: int) -> bool:
    return server.metric("modelward_workers") == count


def test_inputs_that_a_worker_died_of_are_not_run_again(tmp_path: Path) -> None:
    with serving(tmp_path, 2) as server:
        kill_one(server, "div", 3)
        for _ in range(20):  # whichever worker takes it
            found = ask(server, "div", dividing(3, deadly=True))
            assert isinstance(found, Refusal)
            assert (found.code, found.reason, found.pushback_ms) == (grpc.StatusCode.UNAVAILABLE, "CRASH", -1)
        assert isinstance(ask(server, "div", dividing(4, deadly=False)), dict), "other shapes are run"
        assert isinstance(ask(server, "add", {"x": ROW}), dict)
        assert server.metric("modelward_crashes_total", model="div", version="1") == 1
        assert server.metric("modelward_contained", model="div", version="1") == 1
        assert server.metric("modelward_worker_restarts_total", reason="died") == 1
        assert any("died of model div version 1" in line and "ERROR" in line for line in server.output)
        named = [line for line in server.output if "values of its inputs can end a worker: node 'division" in line]
        assert any(line.startswith("note: div version 1:") for line in named), "in READY"


def test_the_fallback_chain_answers_and_the_third_shape_takes_the_version_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(tmp_path, 1) as server:
        for columns in (1, 2, 3):
            kill_one(server, "div_guarded", columns)
        with Stub(server.grpc) as stub:
            answer = stub.infer(request("div_guarded", dividing(9, deadly=False)))
            assert parameters(answer)["modelward_fallback"] == "crash"
            assert arrays(answer)["y"].tolist() == [[7]]
            # a file of the same content under another name is another version
            assert arrays(stub.infer(request("div", dividing(1, deadly=False))))["y"].tolist() == [[-12]]
        assert main(["status", "--admin", server.admin]) == 0
        assert "workers died of div_guarded version 1" in capsys.readouterr().out

        # it outlives every worker
        assert main(["restart", "--admin", server.admin]) == 0
        with Stub(server.grpc) as stub:
            assert (
                parameters(stub.infer(request("div_guarded", dividing(9, deadly=False))))["modelward_fallback"]
                == "crash"
            )
        assert main(["reload", "--admin", server.admin]) == 0
        assert parameters_of(server) == {"modelward_fallback": "crash", "modelward_fallback_source": "value"}

        assert main(["pardon", "div_guarded", "--admin", server.admin]) == 0
        wait_until(lambda: not parameters_of(server), "it is run again")
        assert server.metric("modelward_contained", model="div_guarded") == 0
        for words, *what in (
            ("no worker has died of it", "div_guarded"),
            ("there is no such version", "div_guarded", "9"),
            ("there is no such model", "other"),
        ):
            capsys.readouterr()
            assert main(["pardon", *what, "--admin", server.admin]) == 1
            assert words in capsys.readouterr().err


def parameters_of(server: ServerProcess) -> dict[str, object]:
    with Stub(server.grpc) as stub:
        return parameters(stub.infer(request("div_guarded", dividing(9, deadly=False))))


@pytest.mark.parametrize("in_thread", [False, True])
def test_the_run_to_blame_is_told_from_another_that_is_under_way(tmp_path: Path, in_thread: bool) -> None:
    others = {"slow": models.loop_of_steps(), "div": models.dividing(in_thread=in_thread)}
    models.repository(tmp_path / "models", others)
    with serving(tmp_path, 1) as server, Stub(server.grpc) as stub:
        under_way = stub.future(request("slow", LONG))
        wait_until(lambda: server.metric("modelward_inflight") == 1, "the slow run")
        kill_one(server, "div", 5)
        assert is_contained(server, "div", 5)
        assert server.metric("modelward_contained", model="slow") == 0
        assert under_way.exception() is not None


def test_deaths_from_outside_are_no_callers_fault(tmp_path: Path) -> None:
    models.repository(tmp_path / "models", {"slow": models.loop_of_steps()})
    with serving(tmp_path, 1) as server, Stub(server.grpc) as stub:
        under_way = stub.future(request("slow", LONG))  # which a client that forgets it cancels
        wait_until(lambda: server.metric("modelward_inflight") == 1, "the slow run")
        before = server.workers()
        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda: server.workers() not in ([], before) and all_ready(server, 1), "another worker")
        assert server.metric("modelward_contained") == 0
        assert under_way.exception() is not None
