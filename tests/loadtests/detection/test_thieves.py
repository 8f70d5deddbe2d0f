"""Thieves, without a server: what they ask for."""

import numpy as np
import pytest

from loadtests.detection import tables
from loadtests.detection.tables import Floats, Table, distances, spacing
from loadtests.detection.thieves import JBDA_STEP, THIEVES, Copy, Loot

BUDGET = 260


@pytest.fixture(scope="module")
def table() -> Table:
    return tables.load("breast-cancer")


def stolen(table: Table, thief: str, budget: int = BUDGET, answered: bool = True) -> Floats:
    """All rows that it asks for. The model's label is the sign of the first feature."""
    loot = Loot(table, tables.load("digits"), 2, budget, np.random.default_rng(0))
    queries, rows = THIEVES[thief](loot), []
    try:
        asked = next(queries)
        while True:
            rows.append(asked)
            asked = queries.send((asked[:, 0] > 0).astype(np.int64) if answered else np.full(len(asked), -1))
    except StopIteration:
        return np.concatenate(rows)


@pytest.mark.parametrize("thief", THIEVES)
def test_every_thief_spends_its_budget_or_all_its_rows(table: Table, thief: str) -> None:
    rows = stolen(table, thief)
    assert len(rows) == min(BUDGET, len(table.owned) if thief == "half of the real data" else BUDGET)
    assert rows.shape[1] == table.features and np.isfinite(rows).all()


@pytest.mark.parametrize("thief", THIEVES)
def test_a_thief_that_is_told_nothing_ends(table: Table, thief: str) -> None:
    assert 0 < len(stolen(table, thief, answered=False)) <= BUDGET


def test_those_off_the_distribution_are_far_from_real_rows_and_natural_ones_are_real(table: Table) -> None:
    near = spacing(table.train)
    gaps = {thief: np.median(distances(stolen(table, thief), table.owned).min(axis=1)) for thief in THIEVES}
    assert gaps["half of the real data"] < tables.SAME
    assert gaps["interpolation"] < near
    assert min(gaps["uniform"], gaps["knockoff"]) > 1.5 * near


def test_jbda_steps_as_far_as_it_says_in_every_feature(table: Table) -> None:
    rows = stolen(table, "JbDA")
    seeds, steps = rows[:100], rows[100:200]
    gaps = np.abs(steps[:, None] - seeds[None]).max(axis=2).min(axis=1)
    assert gaps == pytest.approx(np.full(100, JBDA_STEP))


def test_active_learning_asks_nearer_to_the_boundary_than_interpolation(table: Table) -> None:
    asked = {thief: np.abs(stolen(table, thief)[50:, 0]).mean() for thief in ("active learning", "interpolation")}
    assert asked["active learning"] < 0.8 * asked["interpolation"]


def test_the_copys_gradient_points_to_where_its_label_is_likelier(table: Table) -> None:
    rows = table.train
    for labels in ((rows[:, 0] > 0).astype(np.int64), np.digitize(rows[:, 0], [-0.5, 0.5])):
        copy, random = Copy(rows, labels), np.random.default_rng(0)
        slope = copy.gradient(rows, labels, random)
        highest = labels == labels.max()
        assert slope[highest, 0].mean() > 0 > slope[labels == 0, 0].mean()
