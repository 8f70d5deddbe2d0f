"""From the totals that are there anyway to those that the utilization is made of."""

from __future__ import annotations

import os
import threading
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from modelward.supervisor.utilization_watch import LoopTimes, UtilizationWatch, loop_times_of, pause, work
from modelward.supervisor.workers import Workers
from modelward.telemetry.refusals import CHECKED, UNWANTED
from modelward.telemetry.snapshot import CloseReasonSnapshot, Snapshot, TlsSnapshot
from modelward.telemetry.utilization import CHECK, CONNECTION, HANDSHAKE, REFUSAL
from modelward_native.region.region import Region
from modelward_native.request.verdict import reasons

# not in UNWANTED, since the server has no room, has done the work, or is to blame
ITS_OWN = {
    "NONE", "DEADLINE", "QUEUE_FULL", "SHED", "INFEASIBLE", "BACKEND_FAILED", "RUN_MEMORY", "NO_UPSTREAM",
    "UPSTREAM_LOST", "CRASH", "CANARY", "NO_VERSION", "UPSTREAM_CREDENTIALS", "OUTPUT_GUARD", "OUTPUT_BUDGET",
    "INFLIGHT_BYTES", "OUT_OF_MEMORY", "ACCESS_UNAVAILABLE",
}  # fmt: skip


class Group(list[Any]):
    """As Workers. Each has a process id, and a report once it is ready."""

    region, stats = Region(), Snapshot

    @property
    def ready(self) -> int:
        return sum(worker.report is not None for worker in self)


def total(ok: int = 0, **more: Any) -> dict[str, Any]:
    none: dict[str, Any] = {
        "request": {"ok": ((), (ok,), 0) if ok else None},
        "refusals": {},
        "fallbacks": {},
        "stages": {"compute": None},
        **dict.fromkeys(("runs", "rows", "queued", "queue_ns", "compute_ns", "loop_ns", "concurrency", "waiting"), 0),
    }
    return {**none, **more}


QUIET = {"received": 0, "inflated": 0, "useful": 0, "opened": 0, "settled": 0}


def of(found: dict[tuple[str, str], dict[str, Any]], counted: Snapshot | None = None, **traffic: int) -> Any:
    return work(found, QUIET | traffic, counted or Snapshot(), now=7.0, ready=2, loop=LoopTimes(1.0, 0.5))


@pytest.mark.parametrize(("cost", "seconds"), [(0.0, 1.0), (0.001, 1.0), (0.004, 2.0), (0.01, 5.0), (2.5, 5.0)])
def test_a_look_that_costs_more_is_followed_by_a_longer_pause_but_no_long_one(cost: float, seconds: float) -> None:
    assert pause(cost) == pytest.approx(seconds)


def test_each_reason_is_either_the_clients_or_the_servers() -> None:
    assert not UNWANTED & ITS_OWN
    assert set(reasons()) == UNWANTED | ITS_OWN
    assert CHECKED < UNWANTED


def test_refusals_and_fallbacks_count_as_unwanted_where_their_client_is_the_cause() -> None:
    found = of(
        {
            ("", ""): total(refusals={"PEER_LIMIT": 5}),
            ("m", "1"): total(ok=3, refusals={"SHED": 7}, fallbacks={"ANOMALY": 2, "DEADLINE": 9}),
        }
    )
    assert (found.answered, found.unwanted) == (3, 7)


def test_connections_count_too_but_for_those_that_end_for_no_fault() -> None:
    closed = CloseReasonSnapshot(refused={"peer_rate": 1}, closed={"resets": 2, "idle": 4, "room": 8})
    counted = Snapshot(close_reasons=closed, tls=TlsSnapshot(not_after=0, failed_handshakes=40, unfinished=16))
    found = of({}, counted)
    assert found.unwanted == 19
    assert found.overhead == pytest.approx(18 * HANDSHAKE + CONNECTION)
    assert found.bare == 40


def test_connections_without_an_answered_request_and_bytes_without_an_answer_are_told_apart() -> None:
    found = of({}, received=1000, inflated=300, useful=900, opened=12, settled=5)
    assert (found.unanswered, found.unproven, found.unproven_overhead) == (400, 7, CONNECTION)
    assert of({}, Snapshot(tls=TlsSnapshot(not_after=0))).unproven_overhead == HANDSHAKE


def test_a_refusal_may_cost_more_where_a_credential_was_checked() -> None:
    found = of({("", ""): total(refusals={"PEER_LIMIT": 5, "UNAUTHENTICATED": 2})})
    assert found.overhead == pytest.approx(5 * REFUSAL + 2 * CHECK)


def test_a_run_here_is_of_all_requests_in_it_and_each_holds_its_permit_while_it_is_queued_too() -> None:
    stages = {"compute": ((), (2,), 0)}
    here = total(stages=stages, runs=2, rows=8, queued=6, queue_ns=1e9, compute_ns=4e9, loop_ns=1e9, concurrency=16)
    version = of({("m", "1"): here}).versions["m", "1"]
    assert (version.rows, version.runs, version.on_loop, version.held, version.permits) == (8, 4.0, 1.0, 13.0, 16)


def test_a_request_elsewhere_holds_its_permit_until_it_is_answered() -> None:
    version = of({("m", "1"): total(ok=2, runs=2, compute_ns=3e9, concurrency=4, waiting=1)}).versions["m", "1"]
    assert (version.runs, version.held, version.waiting) == (None, 3.0, 1)


def test_sums_over_removed_versions_are_no_version() -> None:
    assert of({("m", "(removed)"): total(runs=5), ("m", "2"): total()}).versions == {}


def test_what_a_worker_spends_before_it_is_ready_is_no_load() -> None:
    spent = {1: LoopTimes(2.0, 1.0), 2: LoopTimes(9.0, 0.0)}
    starting, serving = SimpleNamespace(pid=1, report=None), SimpleNamespace(pid=2, report=object())
    watch = UtilizationWatch(cast(Workers, Group([starting, serving])), spent.get)
    watch.look(0.0)
    spent[1], spent[2] = LoopTimes(5.0, 0.0), LoopTimes(9.25, 0.25)
    watch.look(10.0)
    assert watch.stats().utilization["loop"] == pytest.approx(0.05)
    starting.report = object()
    spent[1] = LoopTimes(7.0, 0.0)
    watch.look(11.0)
    spent[1] = LoopTimes(8.0, 2.0)
    watch.look(30.0)
    assert watch.stats().utilization["loop"] == pytest.approx(3.0 / 19 / 2)
    assert watch.stats().loop_busy == pytest.approx(3.0 / 19 / 2)


def test_the_time_of_a_loop_is_that_of_the_main_thread_alone() -> None:
    def work_hard() -> None:
        for _ in range(40):
            np.linalg.svd(np.ones((100, 100)))

    before = loop_times_of(os.getpid())
    assert before is not None and before.ran > 0
    thread = threading.Thread(target=work_hard)
    thread.start()
    thread.join()
    after = loop_times_of(os.getpid())
    assert after is not None and after.ran >= before.ran
    assert loop_times_of(2**22 + 1) is None
