"""Proposals as a terminal shows them: all that an approver approves, and nothing that steers the terminal."""

from __future__ import annotations

import json

import pytest

from modelward.admin.messages import message
from modelward.cli.proposals import (
    is_waiting,
    print_proposal,
    state_of,
    tell,
    tell_broken,
    tell_done,
    tell_waiting,
    what_of,
)

VERDICT = {
    "verdict": "equivalent",
    "primary": "1",
    "pairs": 41_000,
    "bounds": [
        {"name": "errors", "value": 0.001, "low": 0.0, "high": 0.004, "verdict": "equivalent",
         "bound": {"least": 0.005, "most": 0.005}},
        {"name": "latency", "value": None, "low": None, "high": None, "verdict": "undecided",
         "bound": {"least": 1.5, "most": 1.5}},
    ],
}  # fmt: skip
FIELDS = {"number": 12, "verb": "promote", "model": "m", "version": "2", "digest": f"sha256:{'0' * 64}", "by": "dan",
          "needed": 2, "state": "open", "steps": (1, 100), "auto": True, "files": "the files are others"}  # fmt: skip


def test_everything_that_is_approved_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    approval = {"by": "bob", "at": 1.0, "reason": "fine\x1b[2J", "signed": True}
    print_proposal(message("Proposal", **FIELDS, approvals=[approval], verdict=json.dumps(VERDICT), diff=["-a", "+b"]))
    shown = capsys.readouterr().out
    for words in (
        "proposal 12: promote m 2: open until", f"sha256:{'0' * 64}", "1 %, 100 %", "goes on by itself", "1 of 2: bob",
        "the files are others",
        "by a signature: fine", "equivalent as a shadow of version 1, 41000 pairs",
        "errors: 0.001, certainly within 0 to 0.004, may be 0.005: equivalent",
        "latency: not known, certainly within 0 to any, may be 1.5: undecided", "    -a", "    +b",
    ):  # fmt: skip
        assert words in shown
    assert "\x1b" not in shown


def test_what_waits_is_told_with_the_command_that_approves_it(capsys: pytest.CaptureFixture[str]) -> None:
    proposal = message("Proposal", **FIELDS)
    assert is_waiting(message("PromotionResponse", proposal=proposal))
    assert not is_waiting(message("PromotionResponse"))
    assert tell_waiting(proposal) == 4
    assert capsys.readouterr().out == "proposal 12 waits for 2 approvals; modelward approve 12\n"


def test_broken_glass_is_told_until_it_is_reviewed() -> None:
    fields = FIELDS | {"state": "done", "break_glass": True}
    assert state_of(message("Proposal", **fields)) == "done, not reviewed"
    assert state_of(message("Proposal", **fields, review={"by": "bob", "at": 1.0})) == "done"


def test_what_was_done_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    done = FIELDS | {"state": "done"}
    for fields, words in (
        (done | {"to_percent": 10}, "m 2 has 10 % of the requests now, and goes on by itself\n"),
        (done | {"to_percent": 100}, "m 2 has 100 % of the requests now\n"),
        (done | {"verb": "rollback"}, "m 2 was rolled back\n"),
        (done | {"verb": "reload"}, "the configuration is followed now\n"),
        (FIELDS | {"to_percent": 10}, ""),
        (FIELDS | {"state": "failed"}, ""),
        (FIELDS | {"verb": "restart", "state": "executing", "server": "b"}, "the server b of the fleet does it now\n"),
    ):
        tell_done(message("Proposal", **fields))
        assert capsys.readouterr().out == words
    tell_broken(message("PromotionResponse", proposal=done))
    assert not capsys.readouterr().out
    tell_broken(message("PromotionResponse", proposal=done | {"break_glass": True}))
    assert (
        "proposal 12: done by breaking the glass; it waits for a review: modelward review 12" in capsys.readouterr().out
    )


def test_more_approvals_than_are_needed_are_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    approvals = [{"by": "bob", "at": 1.0}, {"by": "eve", "at": 1.0}]
    print_proposal(message("Proposal", **FIELDS | {"needed": 1}, approvals=approvals))
    assert "2, 1 needed: bob, eve" in capsys.readouterr().out


def test_a_promotion_is_told_by_its_shares() -> None:
    asked = {"verb": "promote", "model": "m", "version": "2"}
    assert what_of(message("Proposal", **asked, from_percent=1, to_percent=10)) == "promote m 2 from 1 to 10 %"
    assert what_of(message("Proposal", **asked, from_percent=100, to_percent=100)) == "promote m 2 ends at 100 %"
    assert what_of(message("Proposal", **asked)) == "promote m 2"


def test_who_reviews_what_has_failed_has_reviewed_it(capsys: pytest.CaptureFixture[str]) -> None:
    failed = message("ProposalResponse", proposal=FIELDS | {"state": "failed", "break_glass": True})
    assert [tell(failed, as_document=False), tell(failed, as_document=False, executes=True)] == [0, 1]
    assert "failed" in capsys.readouterr().out
