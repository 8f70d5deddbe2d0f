"""Clients that try to decide a promotion: to take a good version back, or to shield a bad one."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from modelward.promotion.parts import Parts
from modelward_native.shadow.evidence import counted
from modelward_native.telemetry.histogram import EDGES
from tests import models
from tests.e2e.messages import Stub, request
from tests.e2e.test_promotion import REASON, ROLLBACK_SECONDS, promote, promotion
from tests.support import EmbeddedServer, ServerProcess, serve_process, serving, wait_until

TIMEOUT = 20.0
LOOKS_SECONDS = 1.6  # three looks at the promotion
LIMIT = 100  # beyond it version 2 fails, and in some tests both do
SHARES = 'models.add.versions={"1": 1}'


def rows(value: float, **more: Any) -> Any:
    return request("add", {"x": np.full((1, 4), value, np.float32)}, **more)


GOOD, BAD = rows(3), rows(3 * LIMIT)
HURRY = {"timeout": 1}  # us


@contextmanager
def promoting(folder: Path, old: bytes, new: bytes, *sets: str, steps: str = "20,100") -> Iterator[ServerProcess]:
    """Two workers with both versions, of which the newer one is under way. 127.0.0.1 is a proxy that says who calls."""
    root = models.repository(folder / "models", {"add": {1: old, 2: new}})
    # on a busy machine one of two equal versions may look slow
    bounds = "models.add.promotion.bounds={latency: 1000}"
    given = ("workers=2", SHARES, bounds, f"state={folder / 'state'}", 'trusted_proxies=["127.0.0.1"]', *sets)
    with serve_process(root, *(word for each in given for word in ("--set", each))) as server:
        promote(server, "--steps", steps, *REASON)
        yield server


def ask(stub: Stub, message: Any, caller: int = 0, **headers: str) -> str:
    """The version that answers, or the status. caller: the peer, as the proxy says it."""
    metadata = [("x-forwarded-for", f"10.0.0.{caller}"), *((k.replace("_", "-"), v) for k, v in headers.items())]
    try:
        return str(stub.infer(message, metadata=metadata).model_version)
    except grpc.RpcError as error:
        return str(error.code())


def during(seconds: float, turn: Callable[[Stub, int], None], address: str) -> None:
    """Takes turns for so long, over connections to both workers."""
    began = time.monotonic()
    with Stub(address) as one, Stub(address) as other:
        for number in itertools.count():
            turn((one, other)[number % 2], number)
            if time.monotonic() - began > seconds:
                return


def taken_back(server: ServerProcess) -> bool:
    return bool(server.metric("modelward_promotions_total", outcome="rolled_back"))


def test_deadlines_that_no_version_keeps_take_none_back(tmp_path: Path) -> None:
    """Of a version that is named, or of one that was assigned to a caller who asks nothing else."""
    with promoting(tmp_path, models.add_one(), models.add_one(), steps="50,100") as server:

        def turn(stub: Stub, number: int) -> None:
            assert ask(stub, GOOD, 1) in "12"
            hopeless = rows(3, version="2" if number % 4 < 2 else "", parameters=HURRY)
            assert ask(stub, hopeless, 2) == "StatusCode.DEADLINE_EXCEEDED"

        during(LOOKS_SECONDS, turn, server.grpc)
        assert not taken_back(server)


def test_a_bad_version_is_shielded_neither_by_failures_of_the_other_that_is_named_nor_by_many_good_requests(
    tmp_path: Path,
) -> None:
    with promoting(tmp_path, models.add_one(), models.add_one_below(LIMIT)) as server:
        hopeless = rows(3, version="1", parameters=HURRY)
        during(0.3, lambda stub, _: None if ask(stub, GOOD, 1) in "12" else pytest.fail("good so far"), server.grpc)
        began = time.monotonic()
        with Stub(server.grpc) as stub:
            for number in itertools.count():
                if taken_back(server):
                    break
                assert time.monotonic() - began < ROLLBACK_SECONDS
                for each in range(30):
                    ask(stub, BAD if each % 3 == 0 else GOOD, 1 + number % 2)  # 30 % of what is honest
                for _ in range(60):
                    ask(stub, hopeless, 3)  # and far more that says otherwise
                    ask(stub, GOOD, 3)
        assert "failed" in promotion(server)["why"]


AIMED = ("sticky_header=x-user", "models.add.promotion.min_requests=50")


def test_callers_that_aim_at_a_version_by_a_header_take_it_back_neither_by_failures_nor_by_outliers(
    tmp_path: Path,
) -> None:
    """Requests with large numbers fail on both versions; which values of the header reach version 2, trial tells."""
    both = models.add_one_below(LIMIT)
    with promoting(tmp_path, both, both, *AIMED, steps="30,100") as server:
        with Stub(server.grpc) as stub:
            aimed = [f"m-{i}" for i in range(60) if ask(stub, GOOD, 9, x_user=f"m-{i}") == "2"]
        assert 5 < len(aimed) < 40
        outlier = rows(LIMIT - 1)

        def turn(stub: Stub, number: int) -> None:
            for caller in range(4):
                assert ask(stub, GOOD, caller, x_user=f"user-{number}-{caller}") in "12"
            for k in range(4):
                reached = ask(stub, BAD if k % 2 else outlier, 9 - k // 2, x_user=aimed[(number + k) % len(aimed)])
                assert reached == ("StatusCode.INTERNAL" if k % 2 else "2")

        during(LOOKS_SECONDS, turn, server.grpc)
        assert not taken_back(server)


def test_a_version_that_fails_where_the_other_answers_is_taken_back_while_keys_decide(tmp_path: Path) -> None:
    with promoting(tmp_path, models.add_one(), models.add_one_below(LIMIT), *AIMED, steps="30,100") as server:
        began = time.monotonic()
        with Stub(server.grpc) as stub:
            for number in itertools.count():
                if taken_back(server):
                    break
                assert time.monotonic() - began < ROLLBACK_SECONDS
                for user in range(40):
                    ask(stub, BAD if user % 4 else GOOD, user % 5, x_user=f"u-{number}-{user}")
        assert "requests failed, told by" in promotion(server)["why"]


@pytest.mark.parametrize(
    ("other", "fallback", "counted_as", "counts"),
    [
        (models.add_one(), "", "failed", True),
        (models.add_one(), '[{"value": {"y": [[0.5, 0.5, 0.5, 0.5]]}}]', "replaced", True),
        (models.add_one_below(LIMIT), "", "failed", False),
        (models.add_one(columns=3), "", "failed", True),  # it cannot be asked the same
    ],
)
def test_a_failure_of_a_version_that_a_key_chose_counts_unless_the_other_version_fails_on_it_too(
    tmp_path: Path, other: bytes, fallback: str, counted_as: str, counts: bool
) -> None:
    versions = {1: other, 2: models.add_one_below(LIMIT)}
    settings = {"models__add__fallback": fallback} if fallback else {}
    shares = '{"1": 1, "2": 1}'
    with serving(
        tmp_path, {"add": versions}, sticky_header="x-user", models__add__versions=shares, **settings
    ) as server:
        with Stub(server.grpc) as stub:
            reached = [ask(stub, GOOD, x_user=f"u-{i}") for i in range(40)]
            for user in range(40):
                ask(stub, BAD, x_user=f"u-{user}")
                wait_until(lambda: not server.application.server.mirroring, "the other version's answer")
        ways = {version: Parts(*counted(server.application.region, "add", version)).ways()[1] for version in "12"}
    failures = {version: int(getattr(way, counted_as).sum()) for version, way in ways.items()}
    assert 5 < reached.count("2") < 35
    assert failures == {"1": 0, "2": reached.count("2") if counts else 0}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """Of two equal versions; numbers from 100 on are refused as anomalies or fail."""
    made = {"add": dict.fromkeys((1, 2), models.add_one_below(LIMIT))}
    with serving(tmp_path / "models", made, models__add__versions='{"1": 1, "2": 1}') as running:
        yield running


def tallies(server: EmbeddedServer) -> tuple[int, int, int]:
    """Of both versions: requests that were answered, failed, answered by the fallback."""
    region = server.application.region
    (chance, key) = (Parts(*counted(region, "add", "1")) + Parts(*counted(region, "add", "2"))).ways()
    assert key.requests.sum() == 0
    return int(chance.good.sum()), int(chance.failed.sum()), int(chance.replaced.sum())


def test_only_requests_that_left_the_version_and_enough_time_to_the_server_are_evidence(server: EmbeddedServer) -> None:
    with Stub(server.grpc) as stub:
        for _ in range(20):
            ask(stub, GOOD)
            ask(stub, BAD)
        assert tallies(server) == (20, 20, 0)
        for message in (
            rows(3, version="1"),
            rows(3 * LIMIT, version="2"),
            rows(3, parameters={"timeout": 1}),
            rows(3 * LIMIT, parameters={"timeout": 1}),
            request("add", {"x": np.full((1, 3), 3, np.float32)}),
            request("add", {}),
        ):
            for _ in range(20):
                ask(stub, message)
        assert tallies(server) == (20, 20, 0)
        for _ in range(20):
            ask(stub, rows(3, parameters={"timeout": 5_000_000}))  # time enough
        assert tallies(server) == (40, 20, 0)


def test_a_request_that_fails_is_evidence_however_little_time_its_client_gave(server: EmbeddedServer) -> None:
    """A caller's usual time is what others make it: nothing of the one below has so far been measured."""
    with Stub(server.grpc) as stub:
        for _ in range(20):
            assert ask(stub, rows(3 * LIMIT, parameters={"timeout": 60_000})) == "StatusCode.INTERNAL"
    assert tallies(server) == (0, 20, 0)


def test_a_request_that_its_client_gives_up_is_no_evidence(server: EmbeddedServer) -> None:
    with Stub(server.grpc) as stub:
        for _ in range(50):
            call = stub.future(GOOD)
            call.cancel()
        ask(stub, GOOD)
    assert tallies(server)[1:] == (0, 0)


def latencies(server: EmbeddedServer, model: str, version: str) -> tuple[int, list[int]]:
    """Answers that are evidence, and how many of them took how long, by cell of EDGES."""
    chance, _ = Parts(*counted(server.application.region, model, version)).ways()
    return int(chance.good.sum()), chance.latency.sum(axis=0).tolist()


def test_who_makes_a_version_busy_does_not_make_it_slow(tmp_path: Path) -> None:
    """Large batches for version 2, by its number: others wait for their turn; their own runs stay as quick."""
    mlp = models.mlp(hidden=256)
    large = request("mlp", {"input": np.zeros((20_000, 30), np.float32)}, version="2")
    small = request("mlp", {"input": np.zeros((1, 30), np.float32)})
    begun, over = threading.Event(), threading.Event()
    with serving(tmp_path, {"mlp": {1: mlp, 2: mlp}}, models__mlp__versions='{"1": 1, "2": 1}') as server:
        with Stub(server.grpc) as stub, Stub(server.grpc) as busy, ThreadPoolExecutor(1) as pool:

            def keep_busy() -> None:
                while not over.is_set():
                    busy.infer(large)
                    begun.set()

            loading = pool.submit(keep_busy)
            assert begun.wait(TIMEOUT)
            waited: list[Any] = []
            try:
                while len(waited) < 60:
                    began = time.monotonic()
                    if stub.infer(small).model_version == "2":
                        waited.append(time.monotonic() - began)
            finally:
                over.set()
            loading.result()
        good, cells = latencies(server, "mlp", "2")
    # of the run in the middle: a busy machine may make any one long
    usual = EDGES[next(cell for cell in range(len(cells)) if sum(cells[: cell + 1]) >= 30)] / 1e9
    assert good == 60
    assert usual < sorted(waited)[30] / 2


def test_what_is_asked_of_the_other_version_too_gives_its_permit_back(tmp_path: Path) -> None:
    versions = {1: models.add_one(), 2: models.add_one_below(LIMIT)}
    settings = {"models__add__versions": '{"1": 1, "2": 1}', "models__add__admission__concurrency": "1"}
    with (
        serving(tmp_path, {"add": versions}, sticky_header="x-user", **settings) as server,
        Stub(server.grpc) as stub,
    ):
        for user in range(10):
            ask(stub, BAD, x_user=f"u-{user}")
            wait_until(lambda: not server.application.server.mirroring, "the other version's answer")
        assert {ask(stub, GOOD, x_user=f"u-{i}") for i in range(40)} == {"1", "2"}
