"""Versions with the same files are told: of older ones and of other models."""

from modelward.models.twins import MOST_TOLD, twins


def test_an_old_version_put_back_and_another_models_are_told_and_newer_ones_not() -> None:
    digests = {("a", "1"): "x", ("a", "2"): "y", ("a", "10"): "x", ("b", "7"): "x", ("c", "1"): "z"}
    assert twins(("a", "10"), digests) == "a version 1, b version 7"
    assert twins(("a", "1"), digests) == "b version 7"
    assert twins(("c", "1"), digests) == ""


def test_versions_whose_files_are_not_known_have_no_twins_and_many_are_cut() -> None:
    assert twins(("a", "2"), {("a", "1"): "", ("a", "2"): "", ("b", ""): ""}) == ""
    many = {(f"m{number}", "1"): "x" for number in range(MOST_TOLD + 3)}
    assert twins(("m0", "1"), many).endswith(" and 2 more")
