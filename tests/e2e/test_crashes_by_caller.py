"""Workers that die of the values of one caller's requests: the others' requests of the same shape are run."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from modelward.access import keys
from modelward.cli.app import main
from tests import models
from tests.e2e.messages import Array, Refusal, Stub, arrays, refusal, request
from tests.e2e.test_crashes import all_ready, dividing
from tests.support import ServerProcess, serve_process, wait_until


def ask(server: ServerProcess, token: str, inputs: dict[str, Array]) -> dict[str, Array] | Refusal | None:
    """On a connection of its own: an answer, a refusal, or None where the connection was lost."""
    with Stub(server.grpc) as stub:
        try:
            return arrays(stub.infer(request("div", inputs), metadata=[("x-api-key", token)]))
        except grpc.RpcError as error:
            if any(key == "grpc-status-details-bin" for key, _ in error.trailing_metadata() or ()):
                return refusal(error)
            return None


def test_what_one_caller_kills_workers_with_is_run_for_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = {name: keys.make(name) for name in ("eve", "ann")}
    with keys.editing(tmp_path / "keys.json") as kept_keys:
        kept_keys.update({key.id: key for key, _ in made.values()})
    eve, ann = (token for _, token in made.values())
    root = models.repository(tmp_path / "models", {"div": models.dividing()})
    access = f"access={{keys: {tmp_path / 'keys.json'}, rules: [{{identity: '*', models: '*'}}]}}"
    sets = (access, f"state={tmp_path / 'state'}", "workers=1")
    with serve_process(root, *(word for each in sets for word in ("--set", each))) as server:
        for columns in (1, 2, 3):
            before = server.workers()
            assert ask(server, eve, dividing(columns, deadly=True)) is None
            wait_until(lambda before=before: server.workers() not in ([], before) and all_ready(server, 1), "another")
            refused = ask(server, eve, dividing(columns, deadly=False))
            assert isinstance(refused, Refusal)
            assert refused.reason == "CRASH"
            assert isinstance(ask(server, ann, dividing(columns, deadly=False)), dict)
        assert isinstance(ask(server, eve, dividing(9, deadly=False)), Refusal), "after three shapes: none"
        assert isinstance(ask(server, ann, dividing(9, deadly=False)), dict)
        assert server.metric("modelward_contained", model="div", version="1") == 3
        assert server.metric("modelward_worker_deaths_total", cause="run") == 3
        assert any("of this caller, for which it is not run again" in line for line in server.output)
        assert main(["status", "--admin", server.admin]) == 0
        shown = capsys.readouterr().out
        assert "with inputs [1, 1, 1, 1]; " in shown
        assert "of key 'eve', 3 times: not run for it again" in shown
        assert "out of service" not in shown

        assert main(["pardon", "div", "--admin", server.admin]) == 0
        wait_until(lambda: isinstance(ask(server, eve, dividing(1, deadly=False)), dict), "it is run again")
