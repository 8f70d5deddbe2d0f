"""Processes and threads that the system refuses: which limit that is, and what is not blamed for it."""

from __future__ import annotations

import argparse
import errno
import os
import pickle
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

from modelward.child import Bounds, in_child
from modelward.config import reading
from modelward.config.settings_files import SettingsFiles
from modelward.defect import as_problem
from modelward.models import trial
from modelward.models.artifact import Artifact
from modelward.models.reader import Reader
from modelward.models.trial import Trials
from modelward.no_process import NoProcess, no_process, refused_thread
from modelward.problem import ProblemsFound
from tests import models
from tests.proxy.models.test_reader import inventory
from tests.proxy.models.test_trial import artifact

REFUSED = OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def refuse(*how: object, **more: object) -> NoReturn:
    raise REFUSED


def refuse_thread(*how: object, **more: object) -> NoReturn:
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize(
    ("number", "how"),
    [(errno.EAGAIN, "pids.max"), (errno.ENOMEM, "memory"), (errno.EMFILE, "ulimit -n"), (errno.ENOENT, "")],
)
def test_it_says_which_limit_is_to_be_raised(number: int, how: str) -> None:
    (problem,) = no_process(OSError(number, os.strerror(number))).problems
    assert os.strerror(number) in problem.why
    assert how in problem.how and bool(how) == bool(problem.how)
    assert ("ulimit -u is " in problem.why) == (number == errno.EAGAIN)


def test_it_comes_from_another_process_as_it_is() -> None:
    assert isinstance(pickle.loads(pickle.dumps(no_process(REFUSED))), NoProcess)


def test_a_thread_that_is_refused_is_no_defect() -> None:
    with pytest.raises(ProblemsFound) as found, as_problem("model m version 1"):
        refuse_thread()
    (problem,) = found.value.problems
    assert (problem.what, problem.where) == ("the system starts no further thread", "model m version 1")
    assert "pids.max" in problem.how
    assert refused_thread(RuntimeError("something else")) is None
    with pytest.raises(ProblemsFound, match="defect of Modelward"), as_problem("model m version 1"):
        raise RuntimeError("something else")


def test_no_model_is_blamed_for_the_process_that_would_have_checked_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.repository(tmp_path, {"add": models.add_one()})
    monkeypatch.setattr(subprocess, "Popen", refuse)
    (refused,) = inventory(tmp_path, Reader()).refused
    assert [problem.what for problem in refused.problems] == ["the system starts no further process"]
    monkeypatch.undo()
    assert inventory(tmp_path, Reader()).refused == ()


def refuse_forks() -> None:
    os.fork = refuse
    trial._forked(lambda: None)


def test_a_run_that_could_not_be_tried_is_no_run_that_the_model_does_not_survive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NoProcess):  # in the child: of its forks
        in_child(Bounds(60), refuse_forks)
    read: Artifact = artifact(tmp_path, models.gru())
    monkeypatch.setattr(subprocess, "Popen", refuse)
    with Trials(tmp_path) as trials:
        assert trials.problems(read) == []
    assert not [*tmp_path.rglob("*.json")], "what was not found out is not kept"


def test_a_configuration_that_no_process_could_read_is_no_problem_of_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", refuse)
    arguments = argparse.Namespace(config=tmp_path / "modelward.yaml")
    with pytest.raises(NoProcess):
        reading.Reading(arguments).load(SettingsFiles(), False)


def test_a_command_for_which_there_is_no_thread_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from modelward.cli import app, schema  # noqa: PLC0415

    monkeypatch.setattr(schema, "run", refuse_thread)
    assert app.main(["schema"]) == 1
    assert "the system starts no further thread" in capsys.readouterr().err
