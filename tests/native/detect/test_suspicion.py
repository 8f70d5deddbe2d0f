"""The table of who is how suspicious: records found again, those that give way, steps from evidence."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from modelward_native.detect.suspicion import MOST_IDENTITIES, STEPS, Suspicion
from modelward_native.region.region import Region
from modelward_native.testing.suspicion import Suspicion as Table
from modelward_native.testing.suspicion import step_of

SECOND = 1_000_000_000
NOW = 10_000 * SECOND


def in_one_line(table: Table, count: int) -> list[int]:
    """Keys whose records lie in the same line."""
    lines = table.capacity // 8
    return [1 + lines * i for i in range(1, count + 1)]


def test_a_record_is_found_again_and_another_key_has_none() -> None:
    table = Table(Region(), 1024)
    key = table.key(b"key identity ann", "fraud")
    assert table.read(key, NOW) is None
    assert table.put(key, NOW, {"near": 10.0}, distinct=400)
    read = table.read(key, NOW)
    assert read is not None and read["evidence"] == {"unlike": 0, "near": 10.0, "walk": 0} and read["step"] == "tag"
    for other in (table.key(b"key identity bob", "fraud"), table.key(b"key identity ann", "other")):
        assert other != key and table.read(other, NOW) is None


def test_a_record_that_was_found_a_moment_ago_is_used_while_it_is_the_keys_own() -> None:
    table = Table(Region(), 1024)
    ann, bob, new = in_one_line(table, 3)
    assert table.put(ann, NOW) and table.put(bob, NOW)
    assert table.again(ann, ann, NOW) == ann
    assert table.again(ann, bob, NOW) == ann
    assert not table.has(new)
    assert table.again(new, bob, NOW) == new
    assert table.has(new) and table.has(bob)


def test_a_key_is_of_a_caller_and_a_model_and_of_this_region_alone() -> None:
    one, two = Region(), Region()
    assert Suspicion(one, 1024).key(b"a", "m") == Suspicion(one, 1024).key(b"a", "m")
    assert Suspicion(one, 1024).key(b"a", "m") != Suspicion(two, 1024).key(b"a", "m")


@pytest.mark.parametrize("identities", [0, MOST_IDENTITIES + 1])
def test_a_table_of_no_or_too_many_identities_is_refused(identities: int) -> None:
    with pytest.raises(ValueError, match=f"1 to {MOST_IDENTITIES} identities"):
        Suspicion(Region(), identities)


def test_a_table_that_is_there_keeps_its_size() -> None:
    region = Region()
    assert Suspicion(region, 1000).capacity == 1024
    assert Suspicion(region, 9000).capacity == 1024


def test_processes_see_the_same_records() -> None:
    region = Region.shared(1)
    table = Table(region, 1024)
    key = table.key(b"ann", "m")
    code = (
        "import sys\nfrom modelward_native.testing.suspicion import Suspicion\n"
        "from modelward_native.region.region import Region\n"
        f"Suspicion(Region.joined(int(sys.argv[1]), 0), 1024).put({key}, {NOW}, {{'walk': 12.0}})\n"
    )
    fd = os.dup(region.fd)
    subprocess.run([sys.executable, "-c", code, str(fd)], pass_fds=[fd], check=True, timeout=60)
    os.close(fd)
    read = table.read(key, NOW)
    assert read is not None and read["evidence"]["walk"] == 12.0


# ---- who gives way


def test_in_a_full_line_the_least_suspicious_of_the_four_oldest_gives_way() -> None:
    table = Table(Region(), 1024)
    keys = in_one_line(table, 9)
    evidence = [12.0, 3.0, 5.0, 7.0, 0.0, 0.0, 0.0, 0.0]
    for i, key in enumerate(keys[:8]):
        table.put(key, NOW + i * SECOND, {"unlike": evidence[i]})
    table.put(keys[8], NOW + 8 * SECOND)
    assert [table.has(key) for key in keys] == [True, False, True, True, True, True, True, True, True]
    assert table.evicted == 1


def test_new_names_without_end_do_not_flush_a_suspicious_one() -> None:
    table = Table(Region(), 64)
    suspicious = table.key(b"thief", "m")
    table.put(suspicious, NOW, {"unlike": 20.0}, distinct=400)
    for i in range(5000):
        table.put(table.key(b"%d" % i, "m"), NOW + i * SECOND // 100)
    assert table.has(suspicious) and table.evicted > 4900


def test_a_record_that_an_operator_holds_stays_and_a_line_of_them_takes_no_other() -> None:
    table = Table(Region(), 1024)
    keys = in_one_line(table, 9)
    for key in keys[:7]:
        assert table.pin(key, "round", NOW)
    table.put(keys[7], NOW + SECOND, {"unlike": 20.0})
    assert table.pin(keys[8], "block", NOW + SECOND)
    assert not table.has(keys[7]) and all(table.has(key) for key in keys[:7])
    assert not table.put(keys[7], NOW)


# ---- steps


@pytest.mark.parametrize(
    ("evidence", "young", "step"),
    [
        (9.1, False, "observe"), (9.3, False, "tag"), (9.1, True, "observe"), (18.5, False, "round"),
        (15.0, True, "round"), (15.0, False, "tag"), (19.5, False, "top_class"), (20.5, False, "delay"),
        (22.0, False, "fallback"), (24.5, False, "block"), (20.6, True, "block"),
    ],
)  # fmt: skip
def test_a_step_begins_at_its_evidence_and_earlier_for_young_identities(
    evidence: float, young: bool, step: str
) -> None:
    assert step_of(evidence, young, "observe") == step


def test_a_step_is_left_two_nats_below_its_beginning() -> None:
    assert step_of(16.5, False, "round") == "round"
    assert step_of(16.3, False, "round") == "tag"
    assert step_of(19.2, False, "fallback") == "fallback"
    assert step_of(18.9, False, "fallback") == "delay"
    assert step_of(5.0, False, "block") == "observe"


def test_evidence_falls_by_one_nat_in_300_seconds() -> None:
    table = Table(Region(), 64)
    table.put(5, NOW, {"walk": 18.5}, distinct=400)

    def after(seconds: int) -> tuple[str, float]:
        read = table.read(5, NOW + seconds * SECOND)
        assert read is not None
        return read["step"], read["evidence"]["walk"]

    assert after(0) == ("round", 18.5)
    assert after(300) == ("round", pytest.approx(17.5))
    assert after(900) == ("tag", pytest.approx(15.5))
    assert after(7000) == ("observe", 0.0)


def test_times_are_told_since_a_row_and_since_a_step_however_long_the_machine_runs() -> None:
    table, late = Table(Region(), 1024), 200 * 86_400 * SECOND
    table.put(1, late, {"near": 10.0})
    read = table.read(1, late + 90 * SECOND)
    assert read is not None and read["last_ns"] == read["since_ns"] == 90 * SECOND


def test_a_block_ends_with_its_time_and_leaves_a_tagged_identity() -> None:
    table = Table(Region(), 64)
    table.put(5, NOW, {"walk": 25.0}, distinct=400, blocked=60)
    during, after = table.read(5, NOW + 59 * SECOND), table.read(5, NOW + 60 * SECOND)
    assert during is not None and during["step"] == "block" and during["blocked_ns"] == SECOND
    assert after is not None and after["step"] == "tag" and after["blocked_ns"] == 0


def test_what_an_operator_says_counts_before_evidence_until_a_pardon() -> None:
    table = Table(Region(), 64)
    table.put(5, NOW, {"walk": 25.0}, distinct=400, blocked=60, strikes=2)
    assert table.pin(5, "tag", NOW)
    pinned = table.read(5, NOW)
    assert pinned is not None and (pinned["step"], pinned["pinned"]) == ("tag", "tag")
    assert table.pardon(5, NOW)
    pardoned = table.read(5, NOW)
    assert pardoned is not None and pardoned["pinned"] is None and pardoned["step"] == "observe"
    assert pardoned["strikes"] == 0 and set(pardoned["evidence"].values()) == {0.0} and pardoned["distinct"] == 400
    assert not table.pardon(6, NOW)


def test_a_pardon_makes_the_budget_of_the_day_whole_again() -> None:
    table = Table(Region(), 64)
    table.put(5, NOW, distinct=400, spends="fallback")
    assert table.suspects("round", NOW, 1)[1]["fallback"] == 1
    table.pardon(5, NOW)
    pardoned = table.read(5, NOW)
    assert pardoned is not None and (pardoned["spent"], pardoned["distinct"]) == (0, 400)
    assert table.suspects("round", NOW, 1)[1]["fallback"] == 0


def test_all_are_pardoned_at_once_but_those_that_operators_hold() -> None:
    table = Table(Region(), 64)
    for key in range(1, 5):
        table.put(key, NOW, {"unlike": 25.0}, distinct=400, blocked=60)
    table.put(5, NOW, distinct=400, spends="round")
    table.put(6, NOW, distinct=400)
    table.pin(1, "block", NOW)
    assert table.pardon_all(NOW) == 4
    assert table.suspects("tag", NOW, 9)[1] == dict.fromkeys(STEPS, 0) | {"observe": 5, "block": 1}


@pytest.mark.parametrize("region", [Region, lambda: Region.shared(1)], ids=["private", "shared"])
def test_suspects_are_told_with_the_most_suspicious_first_and_all_are_counted(region) -> None:  # type: ignore[no-untyped-def]
    table = Table(region(), 1 << 16)
    assert table.suspects("observe", NOW, 10)[0] == []
    for i in range(200):
        table.put(table.key(b"%d" % i, "m"), NOW, {"unlike": 0.1 * i}, distinct=400)
    found, counts = table.suspects("round", NOW, 5)
    assert [round(one["evidence"]["unlike"], 1) for one in found] == [19.9, 19.8, 19.7, 19.6, 19.5]
    assert sum(counts.values()) == 200 and counts["top_class"] == 10 and list(counts) == list(STEPS)
