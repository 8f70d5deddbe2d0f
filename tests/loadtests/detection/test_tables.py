"""How tables are dealt out to victims, attackers and tenants."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

from loadtests.detection import tables


def test_training_rows_are_standardised_and_no_row_is_in_two_parts() -> None:
    table = tables.load("breast-cancer")
    assert np.allclose(table.train.mean(axis=0), 0, atol=1e-9)
    assert np.allclose(table.train.std(axis=0), 1)
    parts = [{row.tobytes() for row in part.round(9)} for part in (table.train, table.owned, table.pool)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 569


def test_rows_that_are_sent_are_those_of_the_table() -> None:
    table = tables.load("breast-cancer")
    raw, _ = load_breast_cancer(return_X_y=True)
    sent = {row.tobytes() for row in table.raw(table.owned).round(2)}
    assert sent <= {row.tobytes() for row in raw.astype(np.float32).round(2)}


def test_a_table_that_is_not_there_is_told_with_the_name_of_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(tables.VARIABLE, raising=False)
    with pytest.raises(tables.Absent, match=r"magic.*ADBENCH"):
        tables.load("magic")


def test_spacing_is_the_distance_to_the_nearest_other_row() -> None:
    rows = np.arange(10.0)[:, None] * 3
    assert tables.spacing(rows) == pytest.approx(3.0)
