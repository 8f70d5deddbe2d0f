"""What the server decides by itself: the audit trail has a record of each difference, and none of what stays."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from modelward.models.facts import Facts
from modelward.problem import Problem
from modelward.repository.refused import Refused
from modelward.server.containment import Contained
from modelward.supervisor.decisions import Seen, differences, versions_of

BROKEN = Refused("add", "2", (Problem("the signature does not fit", "add/2", how="Sign it"),), kept=True)
NOTHING = Seen()
ADD = ("add", "1")


def told(before: Seen, now: Seen) -> list[tuple[str, str, str]]:
    return [(each.verb, each.model or each.object, each.version) for each in differences(before, now)]


def test_a_version_with_the_files_of_an_older_one_is_told_with_it() -> None:
    before = Seen(versions={ADD: "sha256:a"})
    (record,) = differences(before, Seen(versions={ADD: "sha256:a", ("add", "2"): "sha256:a"}))
    assert (record.verb, record.version, record.reason) == (
        "version.loaded", "2", "it has the same files as add version 1",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("field", "before", "now", "there", "back"),
    [
        ("versions", {}, {ADD: "sha256:a"}, ("version.loaded", "add", "1"), ("version.removed", "add", "1")),
        (
            "wrong",
            frozenset(),
            frozenset(["up:1"]),
            ("upstream.canary_failed", "upstream up:1", ""),
            ("upstream.canary_passed", "upstream up:1", ""),
        ),
        ("failing", frozenset(), frozenset([ADD]), ("canary.failed", "add", "1"), ("canary.passed", "add", "1")),
        (
            "breakers",
            {"up:1": {"closed": 2}},
            {"up:1": {"closed": 1, "open": 1}},
            ("breaker.opened", "upstream up:1", ""),
            ("breaker.closed", "upstream up:1", ""),
        ),
        ("shared", True, False, ("limits.store_lost", "", ""), ("limits.store_back", "", "")),
        (
            "contained",
            (),
            (Contained("add", "1", "d", shapes=((1,),)),),
            ("version.contained", "add", "1"),
            ("version.opened", "add", "1"),
        ),
        (
            "contained",
            (),
            (Contained("add", "1", "d", wholly=True),),
            ("version.out_of_service", "add", "1"),
            ("version.opened", "add", "1"),
        ),
    ],
)
def test_each_difference_is_one_record(field: str, before: Any, now: Any, there: Any, back: Any) -> None:
    was, is_now = replace(NOTHING, **{field: before}), replace(NOTHING, **{field: now})
    assert told(was, is_now) == [there]
    assert told(is_now, was) == [back]
    assert told(was, was) == told(is_now, is_now) == []


def test_a_version_with_another_file_is_told_with_both_digests() -> None:
    (record,) = differences(replace(NOTHING, versions={ADD: "sha256:a"}), replace(NOTHING, versions={ADD: "sha256:b"}))
    assert (record.verb, record.before, record.digest) == ("version.replaced", "sha256:a", "sha256:b")


def test_a_refused_version_is_told_once_with_why() -> None:
    refused = replace(NOTHING, refused=(BROKEN,))
    (record,) = differences(NOTHING, refused)
    assert (record.verb, record.result, record.after) == ("version.refused", "refused", {"kept": True})
    assert record.problems[0]["what"] == "the signature does not fit"
    assert told(refused, refused) == []
    assert told(refused, NOTHING) == []


def test_deaths_of_workers_are_told_with_their_causes() -> None:
    was = Seen(counters={"worker.died": 1, "worker.hung": 0, "certificate.rejected": 2}, causes={"exit": 1})
    now = Seen(
        counters={"worker.died": 3, "worker.hung": 0, "certificate.rejected": 3}, causes={"exit": 1, "signal": 2}
    )
    died, rejected = differences(was, now)
    assert (died.verb, died.figures) == ("worker.died", {"count": 2, "causes": {"signal": 2}})
    assert (rejected.verb, rejected.figures) == ("certificate.rejected", {"count": 1})


def test_a_verdict_that_turns_is_told_with_what_it_rests_on() -> None:
    key = ("add", "1", "2")
    was, now = Seen(), Seen(verdicts={key: ("worse", {"compared": 700})})
    (record,) = differences(was, now)
    assert (record.before, record.after, record.figures) == ("undecided", "worse", {"compared": 700})
    assert told(was, Seen(verdicts={key: ("undecided", {})})) == []


def test_the_versions_of_a_report_have_the_digests_of_those_that_run_here() -> None:
    facts = {"add": {"1": Facts("f", profile=False, canary=False, digest="sha256:a")}}
    assert versions_of(facts, {"add": ["1"], "far": ["any"]}) == {ADD: "sha256:a", ("far", "any"): ""}


def test_each_worker_that_opens_a_sealed_version_is_recorded_with_its_key() -> None:
    first, second = ("add", "1", 100), ("add", "1", 200)
    opened = "sha256:a", "age1qqq"

    (record,) = differences(NOTHING, Seen(unsealed={first: opened}))
    assert (record.verb, record.model, record.version, record.digest) == ("version.unsealed", "add", "1", "sha256:a")
    assert record.after == {"key": "age1qqq", "worker": 100}
    assert [
        each.after["worker"] for each in differences(Seen(unsealed={first: opened}), Seen(unsealed={second: opened}))
    ] == [200]
    assert not [*differences(Seen(unsealed={first: opened}), Seen(unsealed={first: opened}))]
