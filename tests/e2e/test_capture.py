"""Capture on a real server: what its clients sent and got lies in Parquet files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from modelward.capture.files import captured
from modelward.score import Profile
from tests import models
from tests.commands import modelward
from tests.e2e.messages import Stub, request
from tests.support import ServerProcess, serve_process, wait_until

FEATURES = 4
TRACE = "0af7651916cd43dd8448eb211c80319c"
NORMAL = np.arange(FEATURES, dtype=np.float32)[None] / 10
STRANGE = np.full((1, FEATURES), 50, np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("capture")


@pytest.fixture(scope="module")
def key(folder: Path) -> str:
    """Of team-a."""
    return modelward("token", "add", "team-a", "--file", folder / "keys.json").stdout.strip()


@pytest.fixture(scope="module")
def server(folder: Path, key: str) -> Iterator[ServerProcess]:
    root = models.repository(folder / "models", {"m": models.add_one()})
    Profile.fit({"x": np.random.default_rng(0).normal(size=(500, FEATURES)).astype(np.float32)}).save(
        root / "m" / "1" / "profile.npz"
    )
    rules = "[{identity: '*', by: key, models: ['*'], methods: [infer]}, {anonymous: true, models: ['*']}]"
    sets = (
        "workers=2",
        f"state={folder / 'state'}",
        "models.m.capture={share: 1, file_age: 1s, features: {'x[3]': leave_out}}",
        "models.m.detection={mode: observe}",
        "models.m.outputs={y: {range: [-1000, 1000]}}",
        f"access={{keys: {folder / 'keys.json'}, rules: {rules}}}",
    )
    with serve_process(root, *(word for each in sets for word in ("--set", each))) as running:
        yield running


def rows_of(folder: Path, count: int) -> list[dict[str, Any]]:
    def found() -> list[dict[str, Any]]:
        files = [file.path for file in captured(folder / "state" / "capture", "m")]
        rows = [row for file in files for row in pq.read_table(file, partitioning=None).to_pylist()]
        return rows if len(rows) >= count else []

    return wait_until(found, f"{count} captured rows")


def test_requests_to_all_workers_are_captured_with_their_answers(server: ServerProcess, folder: Path):
    for number in range(20):  # connections of their own: to both workers
        with Stub(server.grpc) as stub:
            stub.infer(
                request("m", {"x": NORMAL}, id=f"r{number}"),
                metadata=[("traceparent", f"00-{TRACE}-b7ad6b7169203331-01")],
            )
    with Stub(server.grpc) as stub:
        stub.infer(request("m", {"x": STRANGE}, id="strange"))
    rows = {row["request_id"]: row for row in rows_of(folder, 21)}
    assert set(rows) == {"strange", *(f"r{number}" for number in range(20))}
    row = rows["r7"]
    assert row["input.x"] == pytest.approx([*NORMAL[0, :3], None])
    assert row["output.y"] == pytest.approx(NORMAL[0] + 1)
    assert (row["trace_id"], row["caller"], row["answered_by"]) == (TRACE, "peer", "model")
    assert len(row["model_digest"]) >= 64
    assert 0 < row["p_value"] <= 1
    assert (row["quarantine"], rows["strange"]["quarantine"]) == ("", "p_value flagged")
    assert {file.of.part for file in captured(folder / "state" / "capture")} == {"clean", "quarantine"}


def test_rows_of_an_identity_that_is_restricted_are_suspicious(server: ServerProcess, folder: Path, key: str):
    held = modelward("identities", "restrict", "team-a", "--step", "tag", "--reason", "a test", "--admin", server.admin)
    assert held.returncode == 0, held.stderr
    with Stub(server.grpc) as stub:
        stub.infer(request("m", {"x": NORMAL}, id="tagged"), metadata=[("x-api-key", key)])
        stub.infer(request("m", {"x": NORMAL}, id="anonymous"))

    def both() -> dict[str, Any]:
        rows = {row["request_id"]: row for row in rows_of(folder, 1)}
        return rows if {"tagged", "anonymous"} <= set(rows) else {}

    rows = wait_until(both, "both rows")
    assert (rows["tagged"]["step"], rows["tagged"]["quarantine"], rows["tagged"]["caller"]) == (1, "restricted", "key")
    assert (rows["anonymous"]["step"], rows["anonymous"]["quarantine"]) == (0, "")
    assert rows["tagged"]["identity"] != rows["anonymous"]["identity"]

    def who(*texts: str) -> tuple[int, dict[str, str]]:
        told = modelward("capture", "who", "--model", "m", *texts, "--admin", server.admin, "--json")
        return told.returncode, json.loads(told.stdout)

    tagged = rows["tagged"]["identity"]
    code, found = who(tagged)
    assert (code, [*found]) == (0, [tagged])
    assert "team-a" in found[tagged]
    assert who("team-a")[1].keys() == {tagged}
    assert who("0" * 16) == (1, {})


def test_what_is_captured_is_counted_and_told(server: ServerProcess, folder: Path):
    assert server.metric("modelward_capture_rows_total", model="m", part="clean") >= 20
    assert server.metric("modelward_capture_rows_total", model="m", part="quarantine") >= 1
    assert server.metric("modelward_observations_total") >= 21
    assert server.metric("modelward_observations_lost_total", reason="dropped") == 0
    assert any("capture" in line and "m 1 to" in line for line in server.output)
    assert any(line.startswith("outputs  m: y range") for line in server.output)
    status = modelward("status", "--admin", server.admin)
    assert "m: capture: 1 of the requests; detection: observe; outputs: y range" in status.stdout


def test_a_training_set_is_built_of_what_a_server_has_captured(server: ServerProcess, folder: Path, key: str):
    random = np.random.default_rng(0)
    labels = ["request_id,label"]
    with Stub(server.grpc) as stub:
        for number in range(60):
            x = random.normal(size=(1, FEATURES)).astype(np.float32)
            stub.infer(request("m", {"x": x}, id=f"e{number}"))
            labels.append(f"e{number},{int(x[0, 0] > 0)}")
        for number in (1, 60):
            stub.infer(request("m", {"x": NORMAL}, id=f"e{number}"), metadata=[("x-api-key", key)])
        labels.append("e60,1")
    (folder / "labels.csv").write_text("\n".join(labels))
    wait_until(lambda: {"e59", "e60"} <= {row["request_id"] for row in rows_of(folder, 62)}, "the last rows")

    def told(*words: str) -> dict[str, Any]:
        done = modelward("capture", *words, "--model", "m", "--admin", server.admin, "--json")
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    file = str(folder / "labels.csv")
    refused = modelward("capture", "label", file, "--model", "m", "--admin", server.admin)
    assert refused.returncode == 1
    assert "61 labels do not say whose requests they are of" in refused.stderr
    (whose,) = {row["identity"] for row in rows_of(folder, 62) if row["request_id"] == "e59"}
    joined = told("label", file, "--identity", whose)
    assert (joined["matched"], joined["ambiguous"], joined["unused"]) == (60, 0, 1)  # e60 is another caller's
    listed = told("list")
    assert listed["labels"] == 61
    assert {each["part"] for each in listed["captured"]} >= {"clean"}
    shown = told("show", "--limit", "1")["rows"][0]
    assert shown["request_id"] == "e60"
    assert shown["input.x"][3] is None
    made = told("export", "--out", str(folder / "train.parquet"))
    table = pq.read_table(folder / "train.parquet")
    assert made["rows"] == table.num_rows > 40
    assert set(table["label"].to_pylist()) == {0, 1}
    assert made["influence"]["after"]["identities"] == 1
    assert made["notes"]  # one identity is too few for any share
    assert (folder / "train.parquet").stat().st_mode & 0o777 == 0o600
    out = str(folder / "again.parquet")
    by_files = modelward("capture", "export", "--out", out, "--model", "m", "--state", folder / "state")
    assert f"captured rows are in {out}" in by_files.stdout
    other = modelward("capture", "list", "--model", "n", "--admin", server.admin)
    assert other.returncode == 1
    assert "requests of the model are not captured" in other.stderr


def test_a_server_that_ends_writes_what_is_still_in_memory(tmp_path: Path):
    root = models.repository(tmp_path / "models", {"m": models.add_one()})
    options = ["--set", "models.m.capture={share: 1}", "--set", f"state={tmp_path / 'state'}"]
    with serve_process(root, *options) as running:
        with Stub(running.grpc) as stub:
            stub.infer(request("m", {"x": NORMAL}))
        assert running.terminate() == 0
        assert len(rows_of(tmp_path, 1)) == 1


def test_a_slip_in_a_features_name_is_told_before_anything_is_captured(tmp_path: Path):
    root = models.repository(tmp_path / "models", {"m": models.add_one()})
    settings = "models.m.capture={features: {'x[4]': leave_out, y: hash}}"
    done = modelward("check", root, "--set", settings, "--set", f"state={tmp_path / 'state'}")
    assert done.returncode == 0
    told = " ".join((done.stdout + done.stderr).split())
    assert "nothing is captured: capture.features names what is no input" in told
    assert "x[4], y; it has x" in told
