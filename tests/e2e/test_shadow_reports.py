"""Shadows as an operator sees them: verdicts, samples and metrics of a real server with two workers."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelward.cli.shadow_replay import UNMIRRORED
from modelward.shadow.samples import FOLDER, kept
from tests import models
from tests.commands import modelward
from tests.e2e.messages import Stub, arrays, request
from tests.support import ServerProcess, serve_process, wait_until

ROWS = np.random.default_rng(0).normal(size=(64, 30)).astype(np.float32)
SHADOW = "[{version: 2, warmup: 10}, {version: 3, warmup: 0, bounds: {errors: off}}]"


@dataclass
class Shadowed:
    """Version 1 answers; version 2 often answers otherwise, version 3 never."""

    server: ServerProcess
    state: Path

    def ask(self, rounds: int = 1) -> None:
        """Every row, over connections to both workers."""
        with Stub(self.server.grpc) as one, Stub(self.server.grpc) as other:
            for _ in range(rounds):
                for stub in (one, other):
                    for future in [stub.future(request("mlp", {"input": row[np.newaxis]})) for row in ROWS]:
                        assert future.result().model_version == "1"

    def reports(self, *name: str) -> list[dict[str, Any]]:
        done = modelward("shadow", "report", "mlp", *name, "--admin", self.server.admin, "--json")
        assert (done.returncode, done.stderr) == (0, "")
        return [dict(told) for told in json.loads(done.stdout)["shadows"]]

    def report(self, name: str) -> dict[str, Any]:
        """Of the answering version."""
        return self.reports(name)[0]

    def metric(self, name: str, shadow: str, **labels: str) -> float:
        return self.server.metric(f"modelward_shadow_{name}", model="mlp", version="1", shadow=shadow, **labels)

    def until(self, shadow: str, verdict: str) -> None:
        """Asks until a scrape shows the verdict; a busy machine mirrors little."""

        def decided() -> bool:
            self.ask(4)
            return self.metric("verdict", shadow, verdict=verdict) == 1

        wait_until(decided, f"shadow {shadow} to be {verdict}", 120.0)


@pytest.fixture(scope="module")
def shadowed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shadowed]:
    folder = tmp_path_factory.mktemp("shadowed")
    versions: dict[str, bytes | dict[int, bytes]] = {
        "mlp": {1: models.mlp(seed=1), 2: models.mlp(seed=2), 3: models.mlp(seed=1)}
    }
    root, state = models.repository(folder / "models", versions), folder / "state"
    served = ('models.mlp.versions={"1": 1}', f"models.mlp.shadow={SHADOW}")
    sets = ("workers=2", f"state={state}", 'trusted_proxies=["127.0.0.1"]', *served)
    with serve_process(root, *(word for each in sets for word in ("--set", each))) as server:
        yield Shadowed(server, state)


def test_a_worse_shadow_is_told_by_report_and_metrics_and_not_promoted(shadowed: Shadowed) -> None:
    shadowed.until("2", "worse")
    told = shadowed.report("2")
    assert (told["model"], told["primary"], told["shadow"], told["verdict"]) == ("mlp", "1", "2", "worse")
    assert told["labels"]["differ"] > 0
    assert told["warm_up_pairs"] >= 10
    assert shadowed.metric("pairs_total", "2", outcome="compared") >= told["pairs"] > 0
    assert shadowed.metric("disagreement_total", "2") > 0
    assert shadowed.metric("answer_seconds_count", "2", side="shadow") > 0
    shown = modelward("shadow", "report", "mlp", "2", "--admin", shadowed.server.admin)
    assert "mlp: shadow 2 of 1 is worse after" in shown.stdout
    refused = modelward("promote", "mlp", "2", "--admin", shadowed.server.admin)
    assert refused.returncode == 1
    assert "the verdict on version 2 is worse" in refused.stderr
    assert "modelward shadow report mlp 2 tells why" in refused.stderr


def test_disagreeing_requests_are_kept_shown_and_sent_again(shadowed: Shadowed) -> None:
    shadowed.ask()
    wait_until(lambda: kept(shadowed.state / FOLDER, "mlp", "2"), "samples of the shadow")
    assert kept(shadowed.state / FOLDER, "mlp", "3") == []
    listed = modelward("shadow", "show", "mlp", "--state", shadowed.state, "--limit", "5", "--json")
    samples = json.loads(listed.stdout)["samples"]
    assert 0 < len(samples) <= 5
    opened = modelward("shadow", "show", "mlp", "2", samples[0]["sample"], "--state", shadowed.state, "--json")
    sample = json.loads(opened.stdout)
    (row,) = [row for row in ROWS if np.allclose(row, sample["inputs"][0]["data"][0])]
    with Stub(shadowed.server.grpc) as stub:
        for side, version in (("primary", "1"), ("of_shadow", "2")):
            asked = request("mlp", {"input": row[np.newaxis]}, version=version)
            label = arrays(stub.infer(asked, metadata=UNMIRRORED))["label"]
            outputs = {output["name"]: output["data"] for output in sample[side]["outputs"]}
            assert outputs["label"] == label.tolist()
    to = ("shadow", "replay", "mlp", "2", "--state", shadowed.state, "--to", shadowed.server.grpc, "--limit", "5")
    again = modelward(*to, "--versions", "1,2")
    assert again.returncode == 1, again.stdout
    assert modelward(*to, "--versions", "1,3").returncode == 0
    assert {each["primary"] for each in shadowed.reports()} == {"1"}, "nothing was counted of what was sent again"


def test_what_is_known_of_a_shadow_outlives_the_workers(shadowed: Shadowed) -> None:
    shadowed.ask()
    before, workers = shadowed.report("2")["pairs"], set(shadowed.server.workers())
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(set(shadowed.server.workers()) - workers) == 2, "other workers")

    def goes_on() -> bool:
        shadowed.ask()
        return bool(shadowed.report("2")["pairs"] > before)

    wait_until(goes_on, "more pairs than before", 60.0)
    assert modelward("restart", "--admin", shadowed.server.admin).returncode == 0
    assert shadowed.report("2")["pairs"] > before


def test_what_there_is_not_is_told(shadowed: Shadowed) -> None:
    for words, *arguments in (("there is no such model", "other"), ("there is no such shadow", "mlp", "7")):
        refused = modelward("shadow", "report", *arguments, "--admin", shadowed.server.admin)
        assert refused.returncode == 1
        assert words in refused.stderr


def test_a_shadow_that_is_as_good_is_promoted_without_force(shadowed: Shadowed) -> None:
    shadowed.until("3", "equivalent")
    assert shadowed.report("3")["verdict"] == "equivalent"
    done = modelward("promote", "mlp", "3", "--steps", "100", "--admin", shadowed.server.admin)
    assert (done.returncode, done.stderr) == (0, "")
    with Stub(shadowed.server.grpc) as stub:
        assert stub.infer(request("mlp", {"input": ROWS[:1]})).model_version == "3"
