"""What an approver sees of a change: nothing of it hidden by blanks, by its length or by line ends."""

from __future__ import annotations

import pytest

from modelward.approvals.differences import CUT, MOST_BYTES, bounded, differences
from modelward.config.operators import Operators
from modelward.config.settings_files import MAIN


class Rights:
    def __init__(self, *roles: str) -> None:
        self.operators = Operators.model_validate({"bindings": [{"user": "dan", "roles": [*roles]}]})


def lines(before: bytes, after: bytes) -> tuple[str, ...]:
    return differences({MAIN: before}, {MAIN: after}, None, None)


def test_changes_of_rights_come_first_as_they_are_understood() -> None:
    files = {MAIN: b"before"}, {MAIN: b"after"}
    first, second, *_ = differences(*files, Rights("deployer"), Rights("deployer", "approver"))
    assert first == "operators.bindings[0].roles: ['deployer'] -> ['deployer', 'approver']"
    assert second == "--- approved configuration"


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
