"""The documents tell where a file of the pipeline is entered by others than its driver, and why."""

import pytest

from scripts.docs.entries import DOWNWARDS, PAGE, WHY, entries, with_entries


def test_the_page_is_as_the_code_has_it() -> None:
    assert PAGE.read_text() == with_entries(PAGE.read_text()), "run `make docs` and commit what it writes"


def test_each_entry_has_a_reason_or_is_in_the_order_of_the_list_and_no_reason_is_left_over() -> None:
    assert entries().keys() == WHY.keys() | DOWNWARDS
    assert not WHY.keys() & DOWNWARDS
    assert all(WHY.values())


def test_functions_are_entries_and_neither_types_nor_constants_are() -> None:
    assert entries()["stages/launch", "stages/admit"] == ("is_relayed", "launch")
    assert entries()["stages/inflate", "wire/inflater"] == ("on_unpacked",)
    assert ("stages/reply", "backend/relay_answers") not in entries()


def test_an_entry_without_a_reason_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(WHY, ("stages/mirror", "stages/record"))
    with pytest.raises(ValueError, match="stages/record enters stages/mirror without a reason"):
        with_entries(PAGE.read_text())


def test_a_page_without_a_place_for_the_entries_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 places"):
        with_entries("# Nothing\n")
