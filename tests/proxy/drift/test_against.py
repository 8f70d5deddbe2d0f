"""The last rows beside the training rows."""

import numpy as np

from modelward.drift.against import against_training
from modelward.drift.watch import Watch
from modelward.observe.source import Source, Tensor, Trained
from tests.proxy.drift.made import COLUMNS, NAMES, table

TRAINED = tuple(Trained(i, (-1.0, 0.0, 1.0), (0.16, 0.34, 0.34, 0.16)) for i in range(COLUMNS))
SOURCE = Source("m", "1", "ab", 1.0, (Tensor("x", "FP32", (-1, COLUMNS)),), (), True, (("x", 0, COLUMNS),), (), TRAINED)
COLUMN_NAMES = tuple(type(column)(f"x[{i}]", column.kind) for i, column in enumerate(NAMES))


def told(values):
    watch = Watch(COLUMN_NAMES, 1e5, 0.005)
    watch.add(table(values, columns=COLUMN_NAMES))
    assert watch.signals is not None, "the rows were learnt"
    return against_training(watch, SOURCE)


def test_rows_like_the_training_rows_are_told_to_lie_where_those_do():
    found = told(np.random.default_rng(0).normal(size=(1024, COLUMNS)))
    assert [each["name"] for each in found] != [] and all(each["distance"] < 0.03 for each in found)
    assert sum(bar["now"] for bar in found[0]["bars"]) == 1.0


def test_what_never_was_like_training_is_told_first_although_no_alarm_is_raised():
    values = np.random.default_rng(0).normal(size=(1024, COLUMNS))
    values[:, 4] += 2.0
    values[::4, 1] = np.nan
    found = told(values)
    assert [each["name"] for each in found[:2]] == ["x[4]", "x[1]"]
    assert 0.6 < found[0]["distance"] < 0.75
    assert found[0]["bars"][-1]["now"] > 0.8
    assert found[0]["bars"][-1]["training"] == 0.16
    assert found[1]["missing"] == 0.25 and abs(found[1]["distance"] - 0.25) < 0.05


def test_hardly_any_rows_are_not_compared():
    watch = Watch(COLUMN_NAMES, 1e5, 0.005)
    watch.add(table(np.zeros((10, COLUMNS)), columns=COLUMN_NAMES))
    assert against_training(watch, SOURCE) == []


def test_what_is_told_of_training_reaches_the_supervisor():
    assert Source.decode(SOURCE.encode()) == SOURCE
