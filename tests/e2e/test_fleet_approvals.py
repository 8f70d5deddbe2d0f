"""Four eyes on two servers that are one fleet: proposed on one, approved on the other, with a store that goes away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests import models
from tests import store as stores
from tests.e2e import test_approvals
from tests.e2e.test_approvals import House, named
from tests.support import serve_process, serve_processes, wait_until

house = test_approvals.house
FOLLOW_SECONDS = 10.0  # 0.2 s, and what a busy machine makes of it


@pytest.fixture
def store(tmp_path: Path) -> Iterator[stores.Store]:
    with stores.running(tmp_path) as running:
        yield running


def arguments(of: House, url: str, name: str) -> list[str | Path]:
    sets = (f"state={of.folder / name}", f"fleet.url={url}", f"fleet.replica={name}", "fleet.interval=200ms")
    return ["--config", of.config, *(word for each in sets for word in ("--set", each))]


def test_what_is_proposed_on_one_server_is_approved_on_another_and_done_once(
    house: House,
    store: stores.Store,
) -> None:
    with serve_processes(*(arguments(house, store.url, name) for name in "ab")) as (one, other):
        a, b = replace(house, server=one), replace(house, server=other)

        # a promotion
        assert a.propose().startswith("proposal 1 waits")
        assert "promote add 2" in b.run("bob", "proposals").stdout
        assert b.run("dan", "promote", "third", "2", "--steps", "100", "--force", "--reason", "x").stdout.startswith(
            "proposal 2 waits"
        )
        assert "dan has proposed it" in b.run("ada", "withdraw", "1", "--reason", "mine").stderr
        done = b.run("bob", "approve", "1")
        assert (done.returncode, done.stderr) == (0, "")
        assert (a.told(1)["state"], a.told(1)["server"]) == ("done", "b")
        wait_until(lambda: named(one, "add") == named(other, "add") == "2", "both to follow", FOLLOW_SECONDS)
        assert a.run("bob", "reject", "2", "--reason", "no").returncode == 0
        assert "it is rejected" in b.run("ada", "approve", "2").stderr

        # a configuration, which lies on both
        house.write(more="limits: {streams: 77}")
        wait_until(lambda: a.run("bob", "proposals", "3").returncode == 0, "the change to be found", FOLLOW_SECONDS)
        wait_until(lambda: all("proposal 3" in each.run("bob", "status").stdout for each in (a, b)), "both to wait")
        assert b.run("bob", "approve", "3").returncode == 0, "one more than configured, since it is of no operator"
        assert a.run("ada", "approve", "3").returncode == 0
        said = "reloaded, of what is not about models: limits.streams"
        wait_until(lambda: all(said in "".join(each.output) for each in (one, other)), "both to follow the files")
        assert "proposal 4" not in a.run("bob", "proposals", "--all").stdout, "the other one asks nobody again"

        # without the store
        a.propose(model="other")
        wait_until(lambda: b.state_of(4) == "open", "it to be known")
        store.kill()
        wait_until(lambda: not other.metric("modelward_fleet_up"), "it to notice")
        for words in (("approve", "4"), ("reject", "4", "--reason", "no")):
            refused = b.run("bob", *words)
            assert (refused.returncode, "cannot be reached" in refused.stderr) == (1, True)
        assert b.state_of(4) == "open"
        glass = b.run("sam", "rollback", "add", "--break-glass", "--reason", "incident 8")
        assert (glass.returncode, named(other, "add")) == (0, "1"), glass.stderr
        store.start()
        wait_until(lambda: named(one, "add") == "1", "the other one to follow", FOLLOW_SECONDS)
        wait_until(lambda: one.metric("modelward_break_glass_unreviewed") == 1, "it to be told", FOLLOW_SECONDS)
        number = glass.stdout.split("modelward review ")[1].split()[0]
        assert len(number) == len("100000000")
        assert a.run("bob", "review", number, "--reason", "it was needed").returncode == 0
        wait_until(lambda: not other.metric("modelward_break_glass_unreviewed"), "that to be known")
        assert a.run("bob", "approve", "4").returncode == 0
        wait_until(lambda: named(other, "other") == "2", "both to follow", FOLLOW_SECONDS)


def test_a_server_that_starts_again_approves_nothing_that_came_meanwhile(
    house: House,
    store: stores.Store,
) -> None:
    """What it had kept counts before what the store says."""
    with serve_process(*arguments(house, store.url, "a")) as one:
        assert named(one, "add") == "1"
        assert one.terminate() == 0
    models.repository(house.root, {"novel": models.add_one()})
    with serve_process(*arguments(house, store.url, "a")) as again:
        assert named(again, "add") == "1"
        assert named(again, "novel").startswith("UNAVAILABLE")
        assert "taken as approved" not in "".join(again.output)
