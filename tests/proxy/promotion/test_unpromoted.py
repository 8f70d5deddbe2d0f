"""Which version answers where new ones wait for a promotion, and where the record of it is lost."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from modelward.models.facts import Facts
from modelward.problem import ProblemsFound
from modelward.promotion.asked import Wanted
from modelward.promotion.promoter import Promoter
from modelward.promotion.store import COPY, FILE
from tests.proxy.promotion.served import Served, on_a_loop, saved


def unversioned(policy: str) -> Served:
    """No `versions:`; and the policy."""
    return Served(versions=None, version_policy=policy)


@on_a_loop
async def test_where_versions_wait_for_a_promotion_a_new_one_gets_nothing_until_then(tmp_path: Path) -> None:
    served = unversioned("promoted")
    promoter = served.promoter(tmp_path)
    del served.held["3"]
    promoter.settle()
    assert promoter.shares == {"m": {"2": 1}}
    served.held["3"] = Facts("three", profile=True, canary=True)
    promoter.settle()
    assert promoter.shares == {"m": {"2": 1}}
    again = served.promoter(tmp_path)
    again.settle()
    assert again.shares == {"m": {"2": 1}}, "after a restart too"
    await again.promote(Wanted("m", "3", (10, 100)))
    assert served.shared == {"m": {"2": 9000, "3": 1000}}
    await again.rollback("m")
    assert served.shared == {"m": {"2": 1}}


def restarted(served: Served, folder: Path, there: Mapping[str, tuple[str, ...]]) -> Promoter:
    """At its start nothing is served yet."""
    promoter = Promoter(served, folder, lambda: served.now)
    held, served.held = served.held, {}
    promoter.load()
    promoter.resume(lambda: there)
    served.held = held
    return promoter


@pytest.mark.parametrize("broken", [True, False])
@on_a_loop
async def test_where_they_wait_and_the_record_is_lost_the_oldest_answers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, broken: bool
) -> None:
    served = unversioned("promoted")
    served.held = {"1": Facts("one", profile=True, canary=True), **served.held}
    there = {"m": ("1", "2", "3")}
    promoter = restarted(served, tmp_path, there)
    await promoter.promote(Wanted("m", "3", (100,), force="a test"))
    await promoter.rollback("m")
    for name in (FILE, COPY):
        (tmp_path / name).unlink()
        if broken:
            (tmp_path / name).write_text("{")
    again = restarted(served, tmp_path, there)
    assert again.shares == {"m": {"1": 1}}, "before any worker has started"
    again.settle()
    assert again.shares == {"m": {"1": 1}}
    (note,) = again.notes
    assert "no promotion is on record: m is answered by version 1; versions 2, 3 wait" in note
    assert "modelward promote m 3" in note
    assert broken or note in caplog.messages
    assert saved(tmp_path).serving == {"m": "1"}
    await again.promote(Wanted("m", "2", (100,), force="a test"))
    assert again.notes == ()


def test_where_the_policy_changes_to_promoted_the_version_that_answers_goes_on(tmp_path: Path) -> None:
    served = unversioned("newest")
    promoter = served.promoter(tmp_path)
    promoter.expect(unversioned("promoted").config, {"m": ("2", "3")})
    assert promoter.shares == {"m": {"3": 1}}
    served.config = unversioned("promoted").config
    promoter.settle()
    assert (promoter.shares, saved(tmp_path).serving) == ({"m": {"3": 1}}, {"m": "3"})


def test_a_refused_change_of_the_policy_leaves_no_trace(tmp_path: Path) -> None:
    served = unversioned("newest")
    promoter = served.promoter(tmp_path)
    promoter.expect(unversioned("promoted").config, {"m": ("2", "3")})
    promoter.expect(served.config, {"m": ("2", "3")})
    assert promoter.shares == {}


def test_while_the_oldest_version_is_refused_none_answers_before_a_promotion(tmp_path: Path) -> None:
    served = unversioned("promoted")
    promoter = restarted(served, tmp_path, {"m": ("1", "2", "3")})
    promoter.settle()
    assert (promoter.shares, saved(tmp_path).serving) == ({"m": {"1": 1}}, {})
    assert "m is answered by no version; versions 2, 3 wait" in promoter.notes[0]
    served.held = {"1": Facts("one", profile=True, canary=True), **served.held}
    promoter.settle()
    assert saved(tmp_path).serving == {"m": "1"}


@pytest.mark.parametrize("policy", ["newest", "explicit"])
def test_where_they_do_not_nothing_is_noted(tmp_path: Path, policy: str) -> None:
    served = unversioned(policy)
    promoter = served.promoter(tmp_path)
    promoter.settle()
    assert promoter.shares == {}
    assert [*tmp_path.iterdir()] == []


@on_a_loop
async def test_with_an_explicit_policy_only_what_versions_names_is_promoted_or_returned_to(tmp_path: Path) -> None:
    served = Served(version_policy="explicit")
    promoter = served.promoter(tmp_path)
    with pytest.raises(ProblemsFound, match="does not name version 3"):
        await promoter.promote(Wanted("m", "3", force="a test"))
    with pytest.raises(ProblemsFound, match="there is no older version than 2"):
        await promoter.rollback("m")
    named = Served(version_policy="explicit", versions={"2": 1, "3": 0})
    await named.promoter(tmp_path).promote(Wanted("m", "3", (10, 100)))
    assert named.shared == {"m": {"2": 9000, "3": 1000}}


@on_a_loop
async def test_where_the_state_is_lost_the_version_before_the_newest_answers_until_one_is_promoted(
    tmp_path: Path,
) -> None:
    served = unversioned("newest")
    promoter = served.promoter(tmp_path)
    await promoter.rollback("m")
    for name in (FILE, COPY):
        (tmp_path / name).write_text("{")
    for _ in range(2):  # and after another restart
        again = Promoter(served, tmp_path, lambda: served.now)
        again.load()
        again.resume(lambda: {"m": ("2", "3")})
        assert again.shares == {"m": {"2": 1}}
    await again.promote(Wanted("m", "3", (100,)))
    assert again.shares == {"m": {"3": 10_000}}
    assert saved(tmp_path).serving == {}
