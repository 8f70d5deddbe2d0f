"""The configuration of a server, read by a child."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from modelward.child import Bounds
from modelward.config import reading
from modelward.config.arguments import add_arguments
from modelward.config.reading import Reading
from modelward.config.settings_files import MAIN, SettingsFiles
from modelward.problem import ProblemsFound, WrongUsage


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    found = parser.parse_args(words)
    found.run = lambda: None  # as the command line has it, and no child could have it
    return found


def written(folder: Path, text: str) -> Path:
    file = folder / "modelward.yaml"
    file.write_text(text)
    return file


def test_it_is_read_at_once_and_again_whenever_it_is_asked_for(tmp_path: Path) -> None:
    file = written(tmp_path, "workers: 2\n")
    read = Reading(arguments("--config", str(file), "--set", "watch=false"))
    files = SettingsFiles()
    config = read.load(files, False)
    assert (config.workers, config.watch) == (2, False)
    assert (files.texts, files.places) == ({MAIN: b"workers: 2\n"}, {MAIN: file})
    file.write_text("workers: 3\n")
    assert read.load(SettingsFiles(), True).workers == 3


def test_texts_that_were_approved_stand_for_what_lies_there(tmp_path: Path) -> None:
    file = written(tmp_path, "workers: 2\n")
    read = Reading(arguments("--config", str(file)))
    assert read.load(SettingsFiles({MAIN: b"workers: 4\n"}), False).workers == 4
    assert read.load(SettingsFiles(), False).workers == 2


def test_problems_are_told_with_the_texts_that_have_them(tmp_path: Path) -> None:
    file = written(tmp_path, "worker: 2\nwatch: 7\n")
    files = SettingsFiles()
    with pytest.raises(ProblemsFound) as found:
        Reading(arguments("--config", str(file))).load(files, False)
    assert [problem.where for problem in found.value.problems] == [f"{file}:2", f"{file}:1"]
    assert files.texts == {MAIN: b"worker: 2\nwatch: 7\n"}
    assert not reading.is_unread(found.value.problems), "another process would find the same"


def test_a_command_line_that_means_nothing_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage):
        Reading(arguments("--config", str(written(tmp_path, "")), "--http-port", "1", "--metrics-port", "2")).load(
            SettingsFiles(), False
        )


@pytest.mark.parametrize("memory", [16, 20, 24])
def test_a_child_that_gets_too_little_memory_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: int
) -> None:
    file = written(tmp_path, "workers: 2\n")
    monkeypatch.setattr(reading, "BOUNDS", Bounds(seconds=30, memory=memory << 20))
    with pytest.raises(ProblemsFound) as found:
        Reading(arguments("--config", str(file))).load(SettingsFiles(), False)
    (problem,) = found.value.problems
    assert (problem.what, problem.where) == ("the configuration cannot be read", str(file))
    assert problem.why.startswith("the process that reads it: ")
    assert reading.is_unread(found.value.problems)
