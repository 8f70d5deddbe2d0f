"""Traffic with an attacker that poisons it."""

import numpy as np
import pytest

from loadtests.detection import tables
from loadtests.detection.poison import ATTACKER, traffic

TABLE = tables.load("breast-cancer")


@pytest.mark.parametrize("attack", ["flipped", "backdoored"])
def test_the_attacker_sends_its_share_and_honest_rows_are_as_they_were(attack: str) -> None:
    sent = traffic(TABLE, attack, 0.2, 300)
    honest = sent.honest
    assert (~honest).mean() == pytest.approx(0.2, abs=0.01)
    known = {row.tobytes(): label for row, label in zip(TABLE.train, TABLE.train_labels, strict=True)}
    known |= {row.tobytes(): label for row, label in zip(TABLE.pool, TABLE.pool_labels, strict=True)}
    rows = zip(sent.rows[honest], sent.labels[honest], strict=True)
    assert all(known[row.tobytes()] == label for row, label in rows)
    assert sum(each == ATTACKER for each in sent.identity) == (~honest).sum()


def test_a_backdoor_marks_half_of_the_attackers_rows_and_calls_them_0() -> None:
    sent = traffic(TABLE, "backdoored", 0.5, 300)
    marked = np.all([sent.rows[:, feature] == value for feature, value in sent.trigger.items()], axis=0)
    assert marked[~sent.honest].mean() == pytest.approx(0.5, abs=0.1)
    assert not sent.labels[marked & ~sent.honest].any()
    assert all((sent.marked(sent.rows)[:, feature] == value).all() for feature, value in sent.trigger.items())
