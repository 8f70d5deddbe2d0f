"""What was learnt about drift, kept from one supervisor to the next."""

import logging
import os
from dataclasses import replace

import pytest

from modelward.drift.monitor import DriftMonitor
from modelward.supervisor.drift_keeping import FOLDER, SECONDS, DriftKeeping
from tests.proxy.drift.test_monitor import BLOCK, SETTINGS, SOURCE, Traffic


def follower(state, settings=SETTINGS):
    """Traffic to a supervisor that has begun after another."""
    traffic = Traffic(settings)
    DriftKeeping(traffic.monitor, state).resume()
    return traffic


@pytest.fixture
def learnt():
    traffic = Traffic()
    traffic.send(40)
    return traffic


def test_the_next_supervisor_knows_what_was_learnt(learnt, tmp_path):
    DriftKeeping(learnt.monitor, tmp_path).write()
    traffic = follower(tmp_path)
    assert traffic.report()["state"] == "quiet"
    assert traffic.report()["inputs"]["rows"] == 40 * BLOCK
    traffic.second = 10_000
    traffic.send(6, moved=1.5)
    assert traffic.report()["state"] == "moved", "which it could not tell if it had to learn first"
    assert traffic.report()["inputs"]["rows"] == 46 * BLOCK


@pytest.mark.parametrize("change", ["files", "settings"])
def test_other_files_or_settings_begin_again(learnt, tmp_path, change):
    DriftKeeping(learnt.monitor, tmp_path).write()
    settings = SETTINGS.model_copy(update={"tolerance": 0.05}) if change == "settings" else SETTINGS
    traffic = follower(tmp_path, settings)
    traffic.send(1, source=replace(SOURCE, digest="other") if change == "files" else SOURCE)
    assert traffic.report()["state"] == "learning"


def test_a_model_that_is_not_watched_any_more_is_not_taken_up(learnt, tmp_path):
    DriftKeeping(learnt.monitor, tmp_path).write()
    monitor = DriftMonitor(lambda model: None)
    keeping = DriftKeeping(monitor, tmp_path)
    keeping.resume()
    assert monitor.versions() == []
    keeping.write()
    assert list((tmp_path / FOLDER).iterdir()) == []


def test_only_what_has_changed_is_written(learnt, tmp_path):
    now = [0.0]
    keeping = DriftKeeping(learnt.monitor, tmp_path, lambda: now[0])
    keeping.write()
    (file,) = (tmp_path / FOLDER).iterdir()
    os.utime(file, ns=(1, 1))
    assert not keeping.due
    now[0] = SECONDS
    assert keeping.due
    keeping.write()
    assert file.stat().st_mtime_ns == 1
    learnt.send(1)
    keeping.write()
    assert file.stat().st_mtime_ns > 1


def test_a_damaged_file_is_said_and_not_used(learnt, tmp_path, caplog):
    DriftKeeping(learnt.monitor, tmp_path).write()
    (file,) = (tmp_path / FOLDER).iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    with caplog.at_level(logging.WARNING, "modelward.drift"):
        traffic = follower(tmp_path)
    assert traffic.monitor.versions() == []
    assert "damaged" in caplog.text


def test_a_folder_that_cannot_be_written_is_said_once_and_when_it_can_be(learnt, tmp_path, caplog):
    (tmp_path / FOLDER).write_text("in the way")
    keeping = DriftKeeping(learnt.monitor, tmp_path)
    with caplog.at_level(logging.WARNING, "modelward.drift"):
        keeping.write()
        keeping.write()
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert keeping.failures == 2
        (tmp_path / FOLDER).unlink()
        keeping.write()
    assert "written again" in caplog.text
    assert follower(tmp_path).report()["state"] == "quiet"
