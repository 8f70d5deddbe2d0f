"""The access log of a real server: which requests are in it, and what each says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from modelward.access import keys
from tests import models
from tests.e2e.messages import Stub, request
from tests.support import EmbeddedServer, serving, wait_until

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
X = np.ones((1, 4), np.float32)


def logged(file: Path, count: int) -> list[dict[str, Any]]:
    wait_until(lambda: file.exists() and len(file.read_text().splitlines()) >= count, f"{count} lines")
    return [json.loads(line) for line in file.read_text().splitlines()]


def infer(server: EmbeddedServer, model: str = "m", **options: Any) -> grpc.StatusCode:
    with Stub(server.grpc) as stub:
        try:
            stub.infer(request(model, {"x": X}, id="r-1"), **options)
        except grpc.RpcError as error:
            return error.code()  # type: ignore[attr-defined,no-any-return]
    return grpc.StatusCode.OK


def test_each_request_is_told_with_what_became_of_it(tmp_path: Path) -> None:
    file = tmp_path / "access.jsonl"
    with serving(tmp_path / "models", {"m": models.add_one()}, access_log={"sample": 1, "file": str(file)}) as server:
        infer(server, metadata=[("traceparent", f"00-{TRACE}-{PARENT}-01"), ("authorization", "Bearer secret")])
        assert infer(server, "unknown") == grpc.StatusCode.NOT_FOUND
        with Stub(server.grpc) as stub:
            assert len(list(stub.stream([request("m", {"x": X}), request("m", {"x": X})]))) == 2
        answered, unknown, *streamed = logged(file, 4)
        wait_until(lambda: server.metric("modelward_access_log_written_total") == 4, "all to be counted")
        assert server.metric("modelward_access_log_dropped_total") == 0
    assert answered.pop("time").endswith("Z")
    assert 0 < answered.pop("duration_ms") < 60_000
    assert answered.pop("request_bytes") > 0
    assert answered.pop("reply_bytes") > 0
    assert answered == {
        "method": "ModelInfer",
        "model": "m",
        "version": "1",
        "status": "OK",
        "id": "r-1",
        "trace_id": TRACE,
        "parent_id": PARENT,
    }
    assert (unknown["status"], unknown["reason"]) == ("NOT_FOUND", "UNKNOWN_MODEL")
    assert "trace_id" not in unknown
    assert [each["method"] for each in streamed] == ["ModelStreamInfer"] * 2
    assert "secret" not in file.read_text()


def test_callers_are_named_and_calls_without_a_credential_are_in_it_too(tmp_path: Path) -> None:
    file, store = tmp_path / "access.jsonl", tmp_path / "keys.json"
    key, text = keys.make("team-a")
    with keys.editing(store) as known:
        known[key.id] = key
    access = {"keys": str(store), "rules": [{"identity": "team-a", "models": ["m"]}]}
    settings = {"access_log": {"sample": 1, "file": str(file)}, "access": access}
    with serving(tmp_path / "models", {"m": models.add_one()}, **settings) as server:
        assert infer(server, metadata=[("x-api-key", text)]) == grpc.StatusCode.OK
        assert infer(server) == grpc.StatusCode.UNAUTHENTICATED
        mine, refused = logged(file, 2)
    assert (mine["identity"], mine["proof"], mine["status"]) == ("team-a", "key", "OK")
    assert refused["status"] == "UNAUTHENTICATED"
    assert "identity" not in refused
    assert text not in file.read_text()


def test_only_a_share_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "access.jsonl"
    settings = {"sample": 0.25, "file": str(file)}
    with (
        serving(tmp_path / "models", {"m": models.add_one()}, access_log=settings) as server,
        Stub(server.grpc) as stub,
    ):
        for each in [stub.future(request("m", {"x": X})) for _ in range(1000)]:
            each.result()
        wait_until(lambda: server.metric("modelward_access_log_written_total") > 100, "some to be written")
        wait_until(
            lambda: len(file.read_text().splitlines()) == server.metric("modelward_access_log_written_total"), "all"
        )
    assert 150 < len(file.read_text().splitlines()) < 350  # 250, and seven standard deviations


def test_it_is_off_unless_it_is_asked_for(tmp_path: Path) -> None:
    with serving(tmp_path / "models", {"m": models.add_one()}) as server:
        infer(server)
        assert "modelward_access_log" not in server.page("/metrics")[1]
