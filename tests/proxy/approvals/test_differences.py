"""What an approver sees of a change: nothing of it hidden by blanks, by its length or by line ends."""

from __future__ import annotations

import pytest

from modelward.approvals.differences import CUT, LONGEST_VALUE, MOST_BYTES, bounded, differences, on_record, rights
from modelward.config.changes import changed_rights, is_of_rights
from modelward.config.schema import Config
from modelward.config.settings_files import MAIN


def with_roles(*roles: str) -> Config:
    operators = {"bindings": [{"user": "dan", "roles": [*roles]}]}
    return Config.model_validate({"listen": {"admin": "unix:/run/a.sock"}, "operators": operators})


def lines(before: bytes, after: bytes) -> tuple[str, ...]:
    return differences({MAIN: before}, {MAIN: after}, Config(), Config())


def test_changes_of_rights_come_first_as_they_are_understood() -> None:
    files = {MAIN: b"before"}, {MAIN: b"after"}
    first, second, *_ = differences(*files, with_roles("deployer"), with_roles("deployer", "approver"))
    assert first == "operators.bindings[0].roles: ['deployer'] -> ['deployer', 'approver']"
    assert second == "--- approved configuration"


def test_what_decides_rights_is_shown_wherever_it_stands() -> None:
    trust = {"require": True, "keys": {"release": "r.pem"}}
    was = Config.model_validate({"listen": {"admin": "unix:/run/a.sock"}, "integrity": trust})
    changes: list[tuple[dict[str, object], str]] = [
        ({"listen": {"admin": "unix:/run/b.sock"}}, "listen.admin: 'unix:/run/a.sock' -> 'unix:/run/b.sock'"),
        ({"state": "/elsewhere"}, "state: absent -> '/elsewhere'"),
        ({"sealing": {"require": ["m"]}}, "sealing.require: absent -> ['m']"),
        ({"models": {"m.v": {"integrity": {"require": False}}}}, "models.m.v.integrity.require: absent -> 'off'"),
    ]
    for change, line in changes:
        now = Config.model_validate({"listen": {"admin": "unix:/run/a.sock"}, "integrity": trust, **change})
        assert [each for each in rights(was, now) if line in each] == [line], [*rights(was, now)]
        assert all(map(is_of_rights, changed_rights(was, now))) and changed_rights(was, now)
    assert [is_of_rights(key) for key in ("listen.grpc", "models.m.v.deadline", "audit.checkpoint")] == [
        False,
        False,
        True,
    ]


def test_a_record_has_both_values_but_none_that_may_be_a_secret() -> None:
    was, now = with_roles("deployer"), with_roles("deployer", "approver", *["viewer"] * 60)
    command = {"sealing": {"identities": [{"command": ["vault", "read", "-token=s3cret"]}]}}
    now = now.model_copy(update={"sealing": Config.model_validate(command).sealing})
    roles, *sealing = on_record(was, now)
    assert roles.startswith("operators.bindings[0].roles: ['deployer'] -> ['deployer', 'approver', 'viewer', ")
    assert len(roles) < 2 * LONGEST_VALUE
    assert sealing[0] == "sealing.identities[0].command: changed"
    assert "s3cret" not in str(sealing)
    assert on_record(now, now) == ()


@pytest.mark.parametrize("blank", [" ", "\u3000", "\t"])
def test_blanks_do_not_push_the_end_of_a_line_out_of_sight(blank: str) -> None:
    shown = lines(b"roles: [deployer]\n", f"roles: [deployer{blank * 500}, administrator]\n".encode())
    assert shown[-1] == "+roles: [deployer[500 blanks], administrator]"
    indented = lines(b"a\n", f"a\n{blank * 500}b\n".encode())
    assert indented[-1] == "+[500 blanks]b"
    assert lines(b"a\n", b"a:\n        b: 1\n")[-1] == "+        b: 1", "an indent is left as it is"


def test_each_change_of_bytes_is_shown() -> None:
    assert lines(b"a\nb\n", b"a\rb\n")[-1] == "+a\rb"
    assert lines(b"a\n", b"\xff\n")[-1] == "+\\xff"
    assert lines(b"a\n", b"a") == ("configuration: only the end of the last line differs",)
    assert lines(b"a\n", b"a\n") == ()


def test_what_is_too_long_says_so() -> None:
    whole = lines(b"", b"# comment\n" * 1_000)
    assert bounded(whole) == (whole, False)
    long = lines(b"", b"# comment\n" * 10_000)
    kept, cut = bounded(long)
    assert cut
    assert sum(map(len, kept)) < MOST_BYTES
    assert kept[-1] == CUT.format(len(long) - len(kept) + 1)
