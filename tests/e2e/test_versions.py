"""Versions of a model that share the requests which name none."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import numpy as np

from modelward.access import keys
from tests.conftest import Serve
from tests.e2e.messages import Stub, arrays, request
from tests.models import add_one, identity
from tests.support import reloadable

ROW = np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)
BOTH = {"add": {1: add_one(), 2: add_one()}}
REQUESTS = 1000

Header = tuple[tuple[str, str], ...]


def version_of(stub: Stub, metadata: Header = (), version: str = "") -> str:
    """The version that answers."""
    answer = stub.infer(request("add", {"x": ROW}, version=version), metadata=metadata)
    return str(answer.model_version)


def user(number: int) -> Header:
    return (("x-user", f"user-{number}"),)


def test_versions_get_their_shares_and_any_can_be_asked_for(serve: Serve) -> None:
    server = serve(BOTH, models__add__versions={"1": 75, "2": 25})
    with Stub(server.grpc) as stub:
        got = Counter(version_of(stub) for _ in range(2 * REQUESTS))
        assert 400 <= got["2"] <= 600
        assert got["1"] == 2 * REQUESTS - got["2"]
        assert {version_of(stub, version="2") for _ in range(10)} == {"2"}
    assert server.metric("modelward_requests_total", model="add", version="2") == got["2"] + 10


def test_which_requests_a_version_gets_is_another_choice_after_every_reload(tmp_path: Path) -> None:
    with reloadable(tmp_path, BOTH, models__add__versions={"1": 1, "2": 1}) as server, Stub(server.grpc) as stub:
        seen = set()
        for _ in range(40):
            server.reload()
            seen.add(version_of(stub))
    assert seen == {"1", "2"}


def test_a_version_without_weight_answers_only_who_asks_for_it(serve: Serve) -> None:
    server = serve(BOTH, models__add__versions={"1": 1})
    with Stub(server.grpc) as stub:
        assert {version_of(stub) for _ in range(50)} == {"1"}
        assert version_of(stub, version="2") == "2"


def test_a_header_keeps_its_users_with_their_version_and_a_growing_share_moves_no_user_back(tmp_path: Path) -> None:
    with (
        reloadable(tmp_path, BOTH, models__add__versions={"1": 90, "2": 10}, sticky_header="x-user") as server,
        Stub(server.grpc) as stub,
    ):
        first = [version_of(stub, user(n)) for n in range(REQUESTS)]
        assert [version_of(stub, user(n)) for n in range(REQUESTS)] == first
        assert 60 <= first.count("2") <= 140
        assert server.reload(models__add__versions={"1": 50, "2": 50}) == [
            "models.add.versions.1",
            "models.add.versions.2",
        ]
        second = [version_of(stub, user(n)) for n in range(REQUESTS)]
        assert 430 <= second.count("2") <= 570
        assert all(after == "2" for before, after in zip(first, second, strict=True) if before == "2")


def test_which_version_a_header_gets_is_a_secret_of_the_server_that_outlives_it(tmp_path: Path) -> None:
    def chosen(folder: str) -> list[str]:
        settings = {"models__add__versions": {"1": 1, "2": 1}, "sticky_header": "x-user", "state": tmp_path / folder}
        with reloadable(tmp_path / f"models-{folder}", BOTH, **settings) as server, Stub(server.grpc) as stub:
            return [version_of(stub, user(n)) for n in range(60)]

    first = chosen("one")
    assert chosen("one") == first
    assert chosen("other") != first


def test_an_identity_keeps_its_version_whatever_connection_it_comes_on(serve: Serve, tmp_path: Path) -> None:
    texts = []
    with keys.editing(tmp_path / "keys.json") as kept:
        for n in range(40):
            key, text = keys.make(f"tenant-{n}")
            kept[key.id] = key
            texts.append(text)
    access = {"keys": str(tmp_path / "keys.json"), "rules": [{"identity": "*", "models": "*"}]}
    server = serve(BOTH, models__add__versions={"1": 1, "2": 1}, access=access)
    seen: list[str] = []
    for text in texts:
        versions = set()
        for _ in range(2):
            with Stub(server.grpc) as stub:
                versions |= {version_of(stub, (("x-api-key", text),)) for _ in range(3)}
        assert len(versions) == 1
        seen += versions
    assert set(seen) == {"1", "2"}


def test_the_version_of_most_weight_stands_for_the_model(serve: Serve) -> None:
    models: dict[str, bytes | dict[int, bytes]] = {"add": {1: add_one(), 2: identity()}, "front": add_one()}
    server = serve(
        models,
        models__add__versions={"1": 1},
        models__front={"fallback": [{"model": "add"}], "deadline": "1ms", "limit": {"rate": "1/h"}},
    )
    assert server.application.catalog.lookup("add").version == "1"


def test_a_version_that_is_to_answer_and_is_not_there_changes_nothing(tmp_path: Path) -> None:
    with reloadable(tmp_path, BOTH, models__add__versions={"1": 1}) as server, Stub(server.grpc) as stub:
        assert server.reload(models__add__versions={"1": 9, "3": 1}) == []
        (refused,) = server.application.refused
        assert refused.kept
        assert "the repository has no version 3 of model add" in str(refused)
        assert version_of(stub) == "1"
        assert np.array_equal(arrays(stub.infer(request("add", {"x": ROW})))["y"], ROW + 1)


def test_shares_that_are_told_hold_through_reloads_and_not_where_a_version_is_not_there(tmp_path: Path) -> None:
    with reloadable(tmp_path, BOTH, models__add__versions={"1": 1}) as server, Stub(server.grpc) as stub:

        def told(**shares: int) -> set[str]:
            """The versions that answer from then on."""
            by_version = {version.removeprefix("v"): share for version, share in shares.items()}

            async def share() -> None:
                server.application.serving.share({"add": by_version}, None)

            assert server.application.loop is not None
            asyncio.run_coroutine_threadsafe(share(), server.application.loop).result(10)
            return {version_of(stub) for _ in range(50)}

        assert told(v2=1) == {"2"}
        server.reload(models__add__deadline="1s")
        assert {version_of(stub) for _ in range(50)} == {"2"}
        assert told(v1=1, v2=1) == {"1", "2"}
        assert told(v1=9, v3=1) == {"1"}, "as configured"
        assert server.metric("modelward_inflight") == 0
