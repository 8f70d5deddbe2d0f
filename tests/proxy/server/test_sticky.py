"""The key that callers are hashed with is kept, and only the server's user may read it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelward.config.load import load
from modelward.config.schema import Config
from modelward.server.sticky import FILE, sticky_key

RANDOM, OTHER = bytes(range(16)), bytes(16)


def configured(state: Path, *more: str) -> Config:
    return load(sets=[f"state={state}", f"repository={state}", *more], environ={})


def test_it_is_the_same_after_a_restart_and_read_by_no_other_user(tmp_path: Path) -> None:
    config = configured(tmp_path / "state", "sticky_header=x-user")
    assert sticky_key(config, RANDOM) == RANDOM
    assert sticky_key(config, OTHER) == RANDOM
    assert (tmp_path / "state" / FILE).stat().st_mode & 0o777 == 0o600


def test_nothing_is_written_where_no_version_sticks_to_a_caller(tmp_path: Path) -> None:
    assert sticky_key(configured(tmp_path / "state"), RANDOM) == RANDOM
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("content", ["", "zz", "00" * 15])
def test_a_file_that_holds_no_key_is_told_and_left_alone(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_text(content)
    assert sticky_key(configured(tmp_path, "sticky_header=x-user"), RANDOM) == RANDOM
    assert "cannot be used" in caplog.text
    assert (tmp_path / FILE).read_text() == content


def test_a_pipe_in_its_place_stops_no_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    os.mkfifo(tmp_path / FILE)
    assert sticky_key(configured(tmp_path, "sticky_header=x-user"), RANDOM) == RANDOM
    assert "cannot be used" in caplog.text
