"""Training sets of captured rows: what an identity that poisons them keeps of its influence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from modelward.capture.disagreement import at_least
from modelward.capture.export import Export, Settings, export
from modelward.capture.labels import Joined

TENANTS = 40
EACH = 100
POISON = 99


def label_of(x: Any) -> Any:
    return (x[:, 0] + x[:, 1] > 0).astype(int)


def honest(seed: int = 0, clustered: bool = True) -> tuple[Any, Any, Any]:
    """Rows, labels and identities of tenants that each use a part of the input space."""
    random = np.random.default_rng(seed)
    centers = random.normal(0, 1.2, size=(TENANTS, 6)) if clustered else np.zeros((TENANTS, 6))
    of = np.repeat(np.arange(TENANTS), EACH)
    x = (centers[of] + random.normal(size=(len(of), 6))).astype(np.float32)
    y = np.where(random.random(len(x)) < 0.05, 1 - label_of(x), label_of(x))  # labels are never quite clean
    return x, y, of


def rows_of(x: Any, of: Any, **columns: Any) -> pa.Table:
    n = len(x)
    ends = np.arange(n + 1, dtype=np.int32) * x.shape[1]
    given = {
        "identity": [f"{each:016x}" for each in of.tolist()],
        "quarantine": [""] * n,
        "answered_by": ["model"] * n,
        "input.x": pa.ListArray.from_arrays(ends, x.astype(np.float32).ravel()),
    }
    return pa.table(given | columns)


def exported(x: Any, y: Any, of: Any, settings: Settings | None = None, **columns: Any) -> Export:
    joined = Joined(y.tolist(), len(y), 0, 0)
    return export(rows_of(x, of, **columns), joined, settings or Settings())


def with_poison(share: float, poison: Any) -> tuple[Any, Any, Any]:
    """poison: (rows, labels) of `count` rows, given the honest ones."""
    x, y, of = honest()
    bad, wrong = poison(x, y, int(len(x) * share / (1 - share)))
    return np.concatenate([x, bad]), np.concatenate([y, wrong]), np.concatenate([of, np.full(len(bad), POISON)])


def flipped(x: Any, y: Any, count: int) -> tuple[Any, Any]:
    rows = np.random.default_rng(5).integers(0, len(x), count)
    return x[rows] + np.random.default_rng(6).normal(0, 0.1, (count, 6)), 1 - label_of(x[rows])


def backdoored(x: Any, y: Any, count: int) -> tuple[Any, Any]:
    """A third of the rows have the trigger and its label; the rest are as they should be."""
    rows = np.random.default_rng(5).integers(0, len(x), count)
    bad, wrong = x[rows] + np.random.default_rng(6).normal(0, 0.1, (count, 6)), label_of(x[rows])
    bad[: count // 3, 4] = 2.25
    wrong[: count // 3] = 1
    return bad, wrong


def poison_left(made: Export) -> float:
    return made.table["identity"].to_pylist().count(f"{POISON:016x}") / made.table.num_rows


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_an_identity_with_flipped_labels_is_left_out_and_no_other_is(share: float):
    made = exported(*with_poison(share, flipped))
    assert [(each.identity, each.reason) for each in made.identities] == [(f"{POISON:016x}", "labels_contradicted")]
    assert poison_left(made) == 0
    assert made.after.identities == TENANTS


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_rows_with_a_backdoors_trigger_are_left_out(share: float):
    x, y, of = with_poison(share, backdoored)
    made = exported(x, y, of)
    left = np.array(made.table["input.x"].to_pylist())
    assert (left[:, 4] == 2.25).sum() <= 5
    assert any(each.feature == "x[4]" and each.value == 2.25 for each in made.lone)
    assert {each.identity for each in made.identities} <= {f"{POISON:016x}"}


def test_honest_tenants_that_use_a_part_of_the_input_space_are_all_kept():
    for seed in range(2):
        made = exported(*honest(seed))
        assert made.identities == ()
        assert made.after.identities == TENANTS
        assert "labels_contradicted" not in made.left_out


def test_an_identity_that_sends_half_of_all_keeps_its_share_alone():
    x, y, of = with_poison(0.5, lambda x, y, count: (x[:count] + 0.01, y[:count]))
    made = exported(x, y, of, Settings(share=0.04))
    assert poison_left(made) == pytest.approx(0.04, abs=0.005)
    assert made.before.largest[0][2] == pytest.approx(0.5, abs=0.1)
    assert made.left_out["identity_share"] > 1000
    assert made.after.effective > 3 * made.before.effective


def test_near_duplicates_are_left_out_beyond_what_is_asked_for():
    x, y, of = with_poison(0.5, lambda x, y, count: (np.repeat(x[:1], count, axis=0), np.repeat(y[:1], count)))
    made = exported(x, y, of, Settings(most_per_cluster=10))
    assert made.left_out["near_duplicate"] >= 3900
    assert poison_left(made) < 0.01


def test_suspicious_rows_are_left_out_unless_they_are_asked_for():
    x, y, of = honest()
    why = ["flagged" if i % 4 == 0 else "" for i in range(len(x))]
    assert exported(x, y, of, quarantine=why).left_out["quarantine"] == 1000
    assert "quarantine" not in exported(x, y, of, Settings(quarantine=True), quarantine=why).left_out


def test_rows_without_a_label_are_left_out_where_there_are_labels():
    x, y, of = honest()
    labels = [int(each) if i % 2 else None for i, each in enumerate(y)]
    made = export(rows_of(x, of), Joined(labels, 2000, 0, 0), Settings())
    assert made.left_out["no_label"] == 2000
    assert None not in made.table["label"].to_pylist()


def test_without_labels_what_the_model_did_not_answer_is_left_out_and_the_report_says_what_was_not_looked_at():
    x, _, of = honest()
    by = ["fallback" if i % 10 == 0 else "model" for i in range(len(x))]
    made = export(rows_of(x, of, answered_by=by), Joined([None] * len(x), 0, 0, 0), Settings())
    assert made.left_out["not_answered"] == 400
    assert made.notes == ("there are no labels: whether any are wrong was not looked at",)


def test_a_value_that_one_tenant_alone_sends_is_told_and_stays_unless_it_is_unwanted():
    x, y, of = honest()
    x[of == 3, 5] = 7.5  # its own branch, say
    made = exported(x, y, of)
    assert [(each.identity, each.feature, each.left_out) for each in made.lone] == [(f"{3:016x}", "x[5]", "")]
    assert made.lone[0].share == 1
    assert made.after.identities == TENANTS
    without = exported(x, y, of, Settings(lone=False))
    assert without.lone[0].left_out == "lone_value"
    assert without.after.identities == TENANTS - 1


def test_texts_and_hashes_are_features_too():
    x, y, of = honest()
    y = (np.arange(len(x)) % 2).astype(int)
    who = [f"kind {each}".encode() for each in y]
    bad = of == 7
    y = np.where(bad, 1 - y, y)
    made = exported(x[:, :1], y, of, **{"input.who": pa.array(who)})
    assert [each.identity for each in made.identities] == [f"{7:016x}"]


def test_the_certain_rate_is_what_chance_seldom_exceeds():
    random = np.random.default_rng(0)
    for rate, n in ((0.1, 50), (0.3, 200), (0.02, 1000)):
        found = [at_least(each / n, n, 0.05) for each in random.binomial(n, rate, 2000)]
        assert np.mean(np.array(found) > rate) <= 0.05
        assert at_least(rate, 10**6, 0.001) == pytest.approx(rate, abs=0.01)


def test_the_same_rows_make_the_same_training_set():
    x, y, of = with_poison(0.2, flipped)
    assert exported(x, y, of).table == exported(x, y, of).table
