import numpy as np
import pytest

from modelward.drift.bets import (
    BETS,
    LEVELS,
    TAIL,
    UNRANKED,
    WIDTHS,
    LearntBets,
    fixed_tables,
    level_of,
    tolerant,
    weights,
)
from modelward.drift.evidence import Evidence
from modelward.drift.ranks import BINS, GROUP, UNSEEN, Ranks


def slow_ranks(counts, bins, draws):
    """One row after the other."""
    counts, found = counts.copy(), []
    bins = bins[:, : draws.shape[1]]
    for row, random in zip(bins, draws, strict=True):
        ranks = []
        for signal, bin_ in enumerate(row):
            below, same = counts[signal, :bin_].sum(), counts[signal, bin_]
            ranks.append((below + random[signal] * (same + 1)) / (counts[signal].sum() + 1))
        for signal, bin_ in enumerate(row):
            counts[signal, bin_] += 1
        found.append(ranks)
    return level_of(np.array(found))


@pytest.mark.parametrize("count", [1, GROUP - 1, GROUP, 3 * GROUP + 5])
def test_a_batch_is_ranked_as_its_rows_one_after_the_other(count):
    rng = np.random.default_rng(count)
    counts = rng.integers(0, 5, (3, BINS))
    bins = rng.integers(0, BINS, (count, 3)).astype(np.uint8)
    groups = -(-count // GROUP)
    ranks = Ranks(counts.copy(), np.random.default_rng(7))
    draws = np.random.default_rng(7).random((groups * GROUP, 3))[:count]
    assert (ranks.levels(bins, learn=True) == slow_ranks(counts, bins, draws)).all()
    assert ranks.counts.sum() == counts.sum() + bins.size


def test_what_is_unseen_is_as_if_its_row_had_not_come_for_that_signal():
    rng = np.random.default_rng(1)
    counts, bins = rng.integers(0, 5, (2, BINS)), rng.integers(0, BINS, (75, 2)).astype(np.uint8)
    unseen = rng.random(75) < 0.4
    unseen[0] = True
    bins[unseen, 1] = UNSEEN
    draws = np.random.default_rng(7).random((96, 2))[:75]
    ranks = Ranks(counts.copy(), np.random.default_rng(7))
    levels = ranks.levels(bins, learn=True)
    assert (levels[:, 0] == slow_ranks(counts, bins, draws[:, :1])[:, 0]).all()
    assert (levels[unseen, 1] == UNRANKED).all()
    assert (levels[~unseen, 1] == slow_ranks(counts[1:], bins[~unseen, 1:], draws[~unseen, 1:])[:, 0]).all()
    assert ranks.counts.sum() == counts.sum() + 75 + (~unseen).sum()
    ranks.forget(bins)
    assert (ranks.counts == counts).all()
    evidence = Evidence(2, 1e7, 0.005)
    evidence.add(np.full((50, 2), UNRANKED, np.uint8), 50, 0.0)
    assert evidence.nats() == pytest.approx(np.log(50))


def test_ranks_are_uniform_and_independent_from_the_first_row_on_whatever_is_ranked():
    """Also where all values are equal, and where nothing was seen before."""
    rng, seen = np.random.default_rng(3), []
    for _ in range(400):
        ranks = Ranks(np.zeros((2, BINS), np.int64), rng)
        bins = np.stack([np.full(50, 3), np.minimum(rng.geometric(0.2, 50), BINS - 1)], 1).astype(np.uint8)
        seen.append(ranks.levels(bins, learn=True))
    levels = np.array(seen)
    for signal in range(2):
        counts = np.bincount(levels[:, :, signal].ravel(), minlength=LEVELS)
        expected = WIDTHS * counts.sum()
        assert ((counts - expected) ** 2 / expected).sum() < 120  # chi-square of 65: one in 30,000 is above
        pairs = np.corrcoef(levels[:, :-1, signal].ravel(), levels[:, 1:, signal].ravel())[0, 1]
        assert abs(pairs) < 4 / np.sqrt(levels[:, 1:, signal].size)


def test_what_is_not_learnt_changes_nothing():
    ranks = Ranks(np.ones((1, BINS), np.int64), np.random.default_rng(0))
    ranks.levels(np.zeros((40, 1), np.uint8), learn=False)
    assert (ranks.counts == 1).all()


def test_what_is_forgotten_was_never_seen():
    rng = np.random.default_rng(0)
    ranks, bins = Ranks(np.ones((2, BINS), np.int64), rng), rng.integers(0, BINS, (40, 2)).astype(np.uint8)
    ranks.levels(bins, learn=True)
    ranks.forget(bins)
    assert (ranks.counts == 1).all()


def test_levels_have_their_widths():
    middle = np.cumsum(WIDTHS) - WIDTHS / 2
    assert WIDTHS.sum() == pytest.approx(1) and level_of(middle).tolist() == list(range(LEVELS))
    assert level_of(np.array([0.0, TAIL / 2, 1.0])).tolist() == [0, 0, LEVELS - 1]


def test_bets_pay_one_in_the_mean_and_within_the_tolerance_not_more():
    tables = fixed_tables()
    assert WIDTHS @ tables == pytest.approx(1)
    paid = np.exp(tolerant(tables, 0.02))
    for bet in range(tables.shape[1]):  # the worst of what is tolerated: rows move from where it pays least to most
        most, least = tables[:, bet].argmax(), tables[:, bet].argmin()
        moved = WIDTHS.copy()
        taken = min(0.02, moved[least])
        moved[least] -= taken
        moved[most] += taken
        assert moved @ paid[:, bet] <= 1 + 1e-9


def test_learnt_bets_pay_before_they_learn():
    bets = LearntBets(1, 0.0)
    counts = np.zeros((1, LEVELS))
    counts[0, 1] = 64.0
    first = bets.logs(counts)
    assert first == pytest.approx(0, abs=1e-9) and (bets.logs(counts)[0] > 10).all()


def test_the_weights_of_all_bets_make_one_bet():
    assert weights().shape == (BETS,)
    assert weights().min() > 0
    assert weights().sum() == pytest.approx(1.0)


def test_more_rows_of_a_range_are_told_before_they_could_be_learnt():
    """A fifth of all comes to lie in an eighth of the ranks: what is learnt lately tells that after 320 rows."""
    delays = []
    for seed in range(10):
        rng, evidence, rows = np.random.default_rng(seed), Evidence(1, 1e7, 0.005), 0
        evidence.add(level_of(rng.random(4096))[:, None], 4096, 0.0)
        while evidence.nats().max() < evidence.alarm_at:
            ranks = rng.random(32)
            some = rng.random(32) < 0.2
            ranks[some] = 0.5 + rng.random(int(some.sum())) / 8
            evidence.add(level_of(ranks)[:, None], 32, 0.0)
            rows += 32
        delays.append(rows)
    assert np.median(delays) <= 256
