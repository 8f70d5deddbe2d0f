"""Summaries of a minute: what was refused to whom, with a bounded number of names."""

from __future__ import annotations

from modelward.limits.callers import Unwanted
from modelward.supervisor.minutes import MOST_CALLERS, OTHERS, Counted, summaries


def test_a_minute_in_which_nothing_happened_has_no_record() -> None:
    busy = Counted({"add": {"PEER_LIMIT": 3}}, {"add": 1}, {"resets": 2, "idle": 9}, {"key 'a'": 3})
    assert [*summaries(busy, busy)] == []


def test_what_came_in_the_minute_is_told_and_nothing_before_it() -> None:
    before = Counted(
        {"add": {"PERMISSION_DENIED": 3, "PEER_LIMIT": 1}},
        {"add": 1},
        {"idle": 1},
        {"key 'a'": 1},
        Unwanted(denied={"key 'a'": 3}, anomalous={"key 'b'": 1}),
    )
    now = Counted(
        {"add": {"PERMISSION_DENIED": 5, "PEER_LIMIT": 4, "DEADLINE": 7}},
        {"add": 3},
        {"idle": 50, "resets": 2},
        {"key 'a'": 4},
        Unwanted({"key 'a'": 4, "address '1'": 1}, {"key 'b'": 2, "key 'c'": 1}, {"address '2'": 2}),
    )
    told = {each.verb: each.figures for each in summaries(before, now)}
    assert told == {
        "access.denied": {
            "by_model": {"add": {"PERMISSION_DENIED": 2}},
            "by_caller": {"key 'a'": 1, "address '1'": 1},
        },
        "limits.refused": {"by_model": {"add": {"PEER_LIMIT": 3}}, "by_caller": {"key 'a'": 3}},
        "connections.closed": {"by_reason": {"resets": 2}, "by_peer": {"address '2'": 2}},
        "anomalies": {"by_model": {"add": 2}, "by_caller": {"key 'b'": 1, "key 'c'": 1}},
    }
    assert {each.kind for each in summaries(before, now)} == {"summary"}


def test_counting_that_began_again_counts_from_nothing() -> None:
    (record,) = summaries(Counted(limited={"key 'a'": 90}), Counted(limited={"key 'a'": 2}))
    assert record.figures == {"by_caller": {"key 'a'": 2}}


def test_strangers_do_not_fill_the_trail_with_names() -> None:
    callers = {f"address '{i}'": i for i in range(1, 1001)}
    (record,) = summaries(Counted(), Counted(limited=callers))
    named = record.figures["by_caller"]
    assert len(named) == MOST_CALLERS + 1
    assert sum(named.values()) == sum(callers.values())
    assert named[OTHERS] == sum(range(1, 1001 - MOST_CALLERS))


def test_who_is_in_no_table_is_counted_with_the_others() -> None:
    (record,) = summaries(Counted(), Counted(anomalies={"add": 9}, unwanted=Unwanted(anomalous={"key 'a'": 4})))
    assert record.figures["by_caller"] == {"key 'a'": 4, OTHERS: 5}
