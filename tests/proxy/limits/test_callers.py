"""What operators are told of callers: added up over workers, a few lines of log."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest

from modelward.limits import callers
from modelward_native.region.region import Region

HOUR_AGO_NS = 3600 * 10**9


def row(key: int, refused: tuple[int, int, int, int], *, ago_ns: int = 0, spent_ns: int = 0) -> tuple[Any, ...]:
    return key, "token", f"team%20{key}", refused, spent_ns // 1000, spent_ns, time.monotonic_ns() - ago_ns


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> tuple[list[Any], list[Any]]:
    """Of the refused and of those who spend: what the workers' tables hold."""
    found: tuple[list[Any], list[Any]] = [], []
    monkeypatch.setattr(callers, "read", lambda region: found)
    return found


def test_what_workers_know_of_one_caller_is_added_up(rows: Any) -> None:
    rows[0].extend([row(1, (0, 2, 0, 0), ago_ns=HOUR_AGO_NS), row(2, (9, 0, 0, 0)), row(1, (0, 5, 1, 0))])
    rows[1].extend([row(3, (0, 0, 0, 0), spent_ns=10**9), row(4, (0, 0, 0, 0), spent_ns=3 * 10**9)])
    told = callers.most(Region(), 10)
    assert [(each.name, each.refusals) for each in told.refused] == [("team 2", 9), ("team 1", 8)]
    assert told.refused[1].refused == {"peer": 0, "identity": 7, "model": 1, "total": 0}
    assert told.refused[1].refused_ago is not None and told.refused[1].refused_ago < 60
    assert [(each.name, each.spent_seconds) for each in told.spending] == [("team 4", 3.0), ("team 3", 1.0)]
    assert len(callers.most(Region(), 1).refused) == 1


def test_the_log_names_the_few_who_were_refused_most_since_the_last_look(
    rows: Any, caplog: pytest.LogCaptureFixture
) -> None:
    watch = callers.Watch(Region())
    rows[0].extend(row(key, (0, key, 0, 0)) for key in range(1, 9))
    with caplog.at_level(logging.WARNING, "modelward.limits"):
        watch.look()
        assert len(caplog.messages) == callers.LINES + 1
        assert "token 'team 8' is over a limit: 8 requests refused" in caplog.messages[0]
        assert caplog.messages[0].endswith("so far: identity")
        assert caplog.messages[-1] == "3 more callers over a limit: 6 requests refused"
        caplog.clear()
        watch.look()
        assert caplog.messages == [], "nothing new"
        rows[0].append(row(3, (0, 0, 4, 0)))
        watch.look()
        (line,) = caplog.messages
        assert "'team 3' is over a limit: 4 requests" in line and "identity, model" in line
