"""A reader of a file that is replaced finds the old one or the new one, and nothing else stays in its folder."""

import os
import stat
from pathlib import Path

import pytest

from modelward.atomic_file import replace_file, replacing


def test_the_text_takes_the_place_of_what_was_there_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    file.write_text("old")
    replace_file(file, "new")
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("new", 0o600)
    assert os.listdir(tmp_path) == ["state.json"]


def test_until_all_is_written_the_file_is_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "profile.npz"
    file.write_text("old")
    with replacing(file, 0o644) as out:
        out.write(b"new")
        out.flush()
        assert file.read_text() == "old"
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("new", 0o644)


def test_what_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    file.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(file) as out:
        out.write(b"half")
        raise ZeroDivisionError
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["state.json"]
