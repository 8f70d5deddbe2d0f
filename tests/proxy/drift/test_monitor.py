"""All versions that are watched, from batches as workers make them, and whose change it is."""

from dataclasses import replace

import numpy as np
import pytest

from modelward.config.drift import Drift
from modelward.drift import monitor as monitors
from modelward.drift.cause import Cause
from modelward.drift.monitor import MOST_VERSIONS, ROWS_A_SECOND, DriftMonitor
from modelward.observe.source import Source, Tensor
from modelward_native.observe.reader import BY_FALLBACK, BY_MODEL, REFUSED
from tests.e2e.messages import RESPONSE
from tests.proxy.capture.made import batch_of

SOURCE = Source("m", "1", "abcd", 1.0, (Tensor("x", "FP32", (-1, 3)),), (Tensor("y", "FP32", (-1, 2)),), True)
SETTINGS = Drift(share=1.0, false_alarms="1 in 1000")
BLOCK = 64


class Traffic:
    """Requests of one row each, from 20 identities; each batch is of another second."""

    def __init__(self, settings=SETTINGS):
        self.monitor = DriftMonitor({"m": settings}.get)
        self.rng = np.random.default_rng(0)
        self.second = 0

    def send(self, count, *, source=SOURCE, moved=0.0, answer=None, **fields):
        """moved: by how much the inputs are; answer: changes answers, which are the first two columns of the inputs."""
        fields.setdefault("p_value", np.nan)
        for _ in range(count):
            self.second += 1
            rows = self.rng.normal(size=(BLOCK, 3)).astype(np.float32) + moved
            batch = batch_of([{"x": row[None]} for row in rows], source, **fields)
            batch.requests["at"] = self.second * 10**9 + np.arange(BLOCK)
            batch.requests["identity"] = np.arange(BLOCK) % 20
            if answer is not None:
                made = batch_of([{"x": row[None]} for row in answer(rows)], source)
                batch = replace(batch, raw_answers=made.raw_answers)
            self.monitor.take(batch)

    def report(self, version="1"):
        return next(each for each in self.monitor.report("m") if each["version"] == version)


V2 = replace(SOURCE, version="2")


def worse(rows):
    return rows + np.float32(2)


def test_what_clients_send_is_learnt_and_a_change_of_it_told():
    traffic = Traffic()
    traffic.send(15)
    assert traffic.report()["state"] == "learning"
    traffic.send(30)
    assert traffic.report()["state"] == "quiet" and traffic.monitor.events() == []
    traffic.send(6, moved=1.5)
    told = traffic.report()
    assert (told["state"], told["cause"]) == ("moved", "world")
    moved = {each["name"] for each in told["inputs"]["signals"] if each["moved"]}
    assert {"x[0]", "x[1]", "x[2]"} <= moved
    events = traffic.monitor.events()
    assert {each.side for each in events} == {"inputs", "outputs"} and all(each.raised for each in events)
    assert traffic.monitor.events() == []
    stats = traffic.monitor.stats()["m", "1"]
    assert stats.moved == {"inputs": True, "outputs": True} and stats.evidence["inputs"] >= 1
    assert stats.alarms == {"inputs": 1, "outputs": 1} and stats.rows["inputs"] == 51 * BLOCK


def test_a_version_whose_answers_alone_change_is_told_from_the_world():
    traffic = Traffic()
    for _ in range(24):
        traffic.send(1)
        traffic.send(1, source=V2)
    for _ in range(6):
        traffic.send(1)
        traffic.send(1, source=V2, answer=worse)
    assert traffic.monitor.cause("m", "2") is Cause.OWN
    assert traffic.monitor.cause("m", "1") is Cause.NONE
    assert traffic.report("2")["cause"] == "own"


def test_a_change_of_the_world_is_no_version_s_own():
    traffic = Traffic()
    for moved in (0.0,) * 24 + (1.5,) * 6:
        traffic.send(1, moved=moved)
        traffic.send(1, source=V2, moved=moved)
    assert traffic.monitor.cause("m", "1") is traffic.monitor.cause("m", "2") is Cause.WORLD


def test_what_several_versions_answer_otherwise_is_the_world_s():
    traffic = Traffic()
    for answer in (None,) * 24 + (worse,) * 6:
        traffic.send(1, answer=answer)
        traffic.send(1, source=V2, answer=answer)
    assert traffic.monitor.cause("m", "2") is Cause.WORLD


def test_alone_a_version_s_change_is_unclear():
    traffic = Traffic()
    traffic.send(24)
    traffic.send(4, answer=worse)
    assert traffic.monitor.cause("m", "1") is Cause.UNCLEAR


def test_without_a_profile_nothing_is_said_of_the_training_data_and_with_one_it_is():
    traffic = Traffic()
    traffic.send(20)
    assert "training" not in traffic.report()
    seen = Traffic()
    for _ in range(20):
        seen.send(1, p_value=seen.rng.random(BLOCK))
    assert seen.report()["training"]["state"] == "quiet"
    for _ in range(10):
        seen.send(1, p_value=seen.rng.random(BLOCK) ** 3)
    told = seen.report()["training"]
    assert told["state"] == "moved" and told["signals"][0]["after"]["median"] < 0.3
    assert told["signals"][0]["before"]["median"] == pytest.approx(0.5)


def test_refused_requests_are_not_looked_at_and_fallbacks_are_no_answers_of_the_model():
    traffic = Traffic()
    traffic.send(20, answered_by=REFUSED)
    assert not traffic.monitor.report("m")[0].get("inputs")
    traffic.send(20, answered_by=BY_FALLBACK)
    assert "outputs" not in traffic.report() and traffic.report()["inputs"]["rows"] == 20 * BLOCK
    traffic.send(20, answered_by=BY_MODEL)
    assert traffic.report()["outputs"]["rows"] == 20 * BLOCK


def test_other_files_and_other_settings_begin_again():
    traffic = Traffic()
    traffic.send(20)
    traffic.send(1, source=replace(SOURCE, digest="ef"))
    assert traffic.report()["state"] == "learning" and traffic.report()["digest"] == "ef"


def test_clients_that_ask_one_version_for_less_do_not_have_it_taken_back():
    """Three of thirteen ask version 2 for one output alone. Its answers are as before."""
    traffic, both = Traffic(), (*SOURCE.outputs, Tensor("z", "FP32", (-1, 1)))
    for i in range(40):
        for number in "12":
            rows = traffic.rng.normal(size=(BLOCK, 3)).astype(np.float32)
            identity = np.arange(BLOCK) % 13
            less = (identity < 3) & (number == "2") & (i >= 24)
            source = replace(SOURCE, version=number, outputs=both)
            batch = batch_of([{"x": row[None]} for row in rows], source, p_value=np.nan, unasked=less * 2)
            batch.requests["at"] = (i + 1) * 10**9 + np.arange(BLOCK)
            batch.requests["identity"] = identity
            answers = [answered(row, None if gone else row[2]) for row, gone in zip(rows, less, strict=True)]
            traffic.monitor.take(replace(batch, raw_answers=tuple(answers)))
    assert traffic.report("2")["outputs"]["rows"] > 38 * BLOCK
    assert traffic.report("2")["outputs"]["state"] == "quiet" and traffic.monitor.cause("m", "2") is Cause.NONE


def answered(row, z):
    made = RESPONSE()
    for name, value in (("y", row[:2]), ("z", z)):
        if value is not None:
            array = np.asarray(value, np.float32).reshape(1, -1)
            made.outputs.add(name=name, datatype="FP32", shape=array.shape)
            made.raw_output_contents.append(array.tobytes())
    return bytes(made.SerializeToString())


def test_one_request_for_fewer_outputs_does_not_make_an_alarm_vanish():
    traffic = Traffic()
    traffic.send(24)
    traffic.send(6, answer=worse)
    assert traffic.report()["outputs"]["state"] == "moved"
    rows = traffic.report()["outputs"]["rows"]
    traffic.send(1, unasked=1, answer=lambda rows: rows)
    told = traffic.report()["outputs"]
    assert told["state"] == "moved" and told["rows"] == rows
    assert [each.raised for each in traffic.monitor.events()] == [True]


def test_an_output_that_is_not_in_answers_any_more_is_drift():
    traffic = Traffic()
    source = replace(SOURCE, outputs=(Tensor("y", "FP32", (-1, 2)), Tensor("z", "FP32", (-1, 1))))
    for i in range(34):
        rows = traffic.rng.normal(size=(BLOCK, 3)).astype(np.float32)
        batch = batch_of([{"x": row[None]} for row in rows], source, p_value=np.nan)
        batch.requests["at"] = (i + 1) * 10**9 + np.arange(BLOCK)
        batch.requests["identity"] = np.arange(BLOCK) % 13
        answers = [answered(row, row[2] if i < 24 else None) for row in rows]
        traffic.monitor.take(replace(batch, raw_answers=tuple(answers)))
    moved = {each["name"] for each in traffic.report()["outputs"]["signals"] if each["moved"]}
    assert "z" in moved


def test_an_alarm_that_is_given_up_is_told(caplog):
    for change in (
        {"source": replace(SOURCE, digest="ef")},
        {"source": replace(SOURCE, outputs=(Tensor("y", "FP32", (-1, 3)),))},
    ):
        traffic = Traffic()
        traffic.send(24)
        traffic.send(6, answer=worse)
        assert [each.raised for each in traffic.monitor.events()] == [True]
        with caplog.at_level("INFO", "modelward.drift"):
            traffic.send(1, **change)
        (lost,) = traffic.monitor.events()
        assert (lost.side, lost.raised) == ("outputs", False) and lost.lost
        assert "what was learnt is given up" in caplog.text
        caplog.clear()


def test_an_alarm_of_a_model_that_is_not_watched_any_more_is_told():
    traffic = Traffic()
    traffic.send(24)
    traffic.send(6, answer=worse)
    traffic.monitor.keep({})
    assert [(each.raised, bool(each.lost)) for each in traffic.monitor.events()] == [(True, False), (False, True)]


def test_models_that_are_not_watched_are_not_looked_at_and_soon_forgotten():
    traffic = Traffic()
    traffic.send(1, source=replace(SOURCE, model="other"))
    assert traffic.monitor.report() == []
    traffic.send(1)
    traffic.monitor.keep({"other": SETTINGS})
    assert traffic.monitor.report() == []


def test_versions_and_rows_are_bounded(monkeypatch):
    traffic = Traffic()
    for number in range(MOST_VERSIONS + 3):
        traffic.send(1, source=replace(SOURCE, version=str(number)))
    assert len(traffic.monitor.stats()) == MOST_VERSIONS and ("m", "0") not in traffic.monitor.stats()
    monkeypatch.setattr(monitors, "ROWS_A_SECOND", 40)
    assert ROWS_A_SECOND > 40
    few = Traffic()
    few.send(20)
    stats = few.monitor.stats()["m", "1"]
    assert stats.left_out == 20 * (BLOCK - 40)


def test_an_accepted_change_is_what_is_usual_and_a_later_one_is_told():
    traffic = Traffic()
    traffic.send(30)
    traffic.send(20, moved=1.5)
    assert traffic.monitor.accept("m", "2") == []
    alarms = traffic.monitor.alarms("m", None)
    assert [(version, digest, side) for version, digest, side, _ in alarms] == [
        ("1", "abcd", "inputs"),
        ("1", "abcd", "outputs"),
    ]
    assert traffic.monitor.accept("m", None) == [("m", "1")]
    assert traffic.monitor.alarms("m", None) == [] and traffic.monitor.cause("m", "1") is Cause.NONE
    traffic.send(20, moved=1.5)
    assert traffic.report()["state"] == "quiet", "the rows since the change were enough to learn from"
    traffic.send(6)
    assert traffic.report()["state"] == "moved", "what was usual before is a change now"


def test_what_is_compared_with_the_training_data_cannot_be_accepted():
    traffic = Traffic()
    traffic.send(20, p_value=0.001)
    assert traffic.report()["training"]["state"] == "moved"
    assert traffic.monitor.accept("m", None) == [] == traffic.monitor.alarms("m", None)
