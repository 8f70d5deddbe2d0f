"""Verdicts: what is worse is found soon, and what is not is not called so, however often anybody looks."""

from __future__ import annotations

from math import inf, lgamma, log, pi
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

from modelward.config.shadow import Bounds
from modelward.shadow.finding import Verdict, pairs
from modelward.shadow.sequence import mean_evidence, mean_interval
from modelward.shadow.verdict import LATENCY_QUANTILE, LEVEL, UPPER_EDGES, Judgement, judge
from modelward_native.shadow.stats import Stats

if TYPE_CHECKING:
    from modelward_native.shadow.stats import Sums

RUNS = 200
BOUNDS = Bounds(disagreement=0.005, errors=0.005, latency=1.5)


def sums(**changed: Any) -> Sums:
    """Sums of nothing but what is given."""
    return {**Stats().sums(), **changed}  # type: ignore[typeddict-item]


def seen(disagreements: npt.NDArray[np.float64], **changed: Any) -> Sums:
    return sums(compared=len(disagreements), disagreement=float(disagreements.sum()), **changed)


def latencies(milliseconds: npt.NDArray[np.float64]) -> list[int]:
    cells = np.searchsorted(UPPER_EDGES, milliseconds * 1e6)
    return np.bincount(cells, minlength=len(UPPER_EDGES)).tolist()


def flips(rate: float, n: int, seed: int) -> npt.NDArray[np.float64]:
    return (np.random.default_rng(seed).random(n) < rate).astype(np.float64)


def test_a_shadow_that_flips_1_percent_of_labels_is_worse_within_20_000_pairs_at_a_bound_of_half_a_percent() -> None:
    bounds = Bounds(disagreement=0.005, errors=0.005)
    found = [judge(seen(flips(0.01, 20_000, seed)), bounds).verdict for seed in range(50)]
    assert found.count(Verdict.WORSE) == 50
    early = judge(seen(flips(0.01, 200, 1)), bounds)
    assert early.verdict is Verdict.UNDECIDED
    assert early.more


def test_a_shadow_within_every_bound_is_equivalent_and_at_first_undecided_for_so_many_pairs() -> None:
    rng = np.random.default_rng(2)

    def after(n: int) -> Judgement:
        same = latencies(rng.lognormal(1.0, 0.3, n))
        return judge(seen(flips(0.001, n, 3), latency_primary=same, latency_shadow=same), BOUNDS)

    early = after(500)
    assert early.verdict is Verdict.UNDECIDED
    assert early.more is not None
    assert 500 < early.more < 20_000
    assert after(500 + 3 * early.more).verdict is Verdict.EQUIVALENT


def test_the_pairs_that_are_missing_decide_it_if_rates_stay_what_they_are() -> None:
    start = sums(compared=1000, disagreement=2.0)
    early = judge(start, Bounds(disagreement=0.005, errors=None))
    assert early.more is not None
    times = (1000 + early.more) / 1000
    later = sums(compared=1000 + early.more, disagreement=2.0 * times)
    before = sums(compared=1000 + int(early.more * 0.95), disagreement=2.0 * (1 + (times - 1) * 0.95))
    assert judge(later, Bounds(disagreement=0.005, errors=None)).verdict is Verdict.EQUIVALENT
    assert judge(before, Bounds(disagreement=0.005, errors=None)).verdict is Verdict.UNDECIDED


def test_rates_exactly_at_a_bound_are_never_decided_and_nothing_seen_says_nothing() -> None:
    at_bound = judge(sums(compared=1000, disagreement=5.0), Bounds(disagreement=0.005, errors=None))
    assert (at_bound.verdict, at_bound.more) == (Verdict.UNDECIDED, None)
    nothing = judge(sums(), BOUNDS)
    assert (nothing.verdict, nothing.pairs, nothing.more) == (Verdict.UNDECIDED, 0, None)
    assert [finding.value for finding in nothing.findings] == [None, None, None]


def test_fewer_errors_or_a_lower_latency_is_better_and_never_hides_a_broken_bound() -> None:
    rng = np.random.default_rng(6)
    slow, fast = latencies(rng.lognormal(2.0, 0.3, 5000)), latencies(rng.lognormal(1.0, 0.3, 5000))
    agree = {"compared": 5000, "disagreement": 0.0}
    same = sums(**agree, latency_primary=slow, latency_shadow=slow)
    assert judge(same, BOUNDS).verdict is Verdict.EQUIVALENT
    assert judge(sums(**agree, latency_primary=slow, latency_shadow=fast), BOUNDS).verdict is Verdict.BETTER
    assert judge({**same, "primary_failed": 200}, BOUNDS).verdict is Verdict.BETTER
    assert judge({**same, "shadow_failed": 200}, BOUNDS).verdict is Verdict.WORSE
    assert judge({**same, "primary_failed": 200, "disagreement": 400.0}, BOUNDS).verdict is Verdict.WORSE
    assert judge(sums(**agree, latency_primary=fast, latency_shadow=slow), BOUNDS).verdict is Verdict.WORSE


def test_a_noisy_model_against_itself_and_a_twin_above_its_noise_floor_are_equivalent() -> None:
    bounds = Bounds(disagreement=0.005, errors=0.005)
    floor = seen(flips(0.02, 100_000, 10))  # the model flips 2 % of its labels from call to call
    assert judge(floor, bounds, itself=True).verdict is Verdict.EQUIVALENT
    twin = seen(flips(0.02, 100_000, 11))
    assert judge(twin, bounds).verdict is Verdict.WORSE  # without the floor noise counts as disagreement
    assert judge(twin, bounds, floor=floor).verdict is Verdict.EQUIVALENT
    assert judge(seen(flips(0.035, 100_000, 12)), bounds, floor=floor).verdict is Verdict.WORSE


def test_pairs_are_all_that_ended() -> None:
    assert pairs(sums(compared=1, primary_failed=2, shadow_failed=3, both_failed=4)) == 10


# ---- watched at every request ----


def first_of(reached: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Per run the look (from 0) at which it was reached, -1 where never."""
    return np.where(reached.any(axis=1), reached.argmax(axis=1), -1)


def disagreement_broken(shares: npt.NDArray[np.bool_], bound: float, level: float) -> npt.NDArray[np.bool_]:
    """Whether the interval of the mean lies above the bound, after each pair (runs, pairs)."""
    n = np.arange(1, shares.shape[1] + 1)
    log_gamma_half = np.array([lgamma(k + 0.5) for k in range(len(n) + 1)])
    total = np.cumsum(shares, axis=1)
    wealth = log_gamma_half[total] + log_gamma_half[n - total] - np.array([lgamma(k + 1.0) for k in n]) - log(pi)
    wealth -= total * log(bound) + (n - total) * log(1 - bound)
    return (wealth >= log(1 / level)) & (total > bound * n)


def errors_broken(ours: npt.NDArray[np.bool_], theirs: npt.NDArray[np.bool_], level: float) -> npt.NDArray[np.bool_]:
    """Whether the interval of the difference lies above 0: the likelihood's largest there has equal rates."""
    n = np.arange(1, ours.shape[1] + 1)
    log_gamma_half = np.array([lgamma(k + 0.5) for k in range(len(n) + 1)])
    first, second = np.cumsum(ours & ~theirs, axis=1), np.cumsum(theirs & ~ours, axis=1)
    either = first + second
    mixture = lgamma(1.5) - 1.5 * log(pi) - np.array([lgamma(k + 1.5) for k in n])
    mixture = mixture + log_gamma_half[first] + log_gamma_half[second] + log_gamma_half[n - either]
    with np.errstate(divide="ignore", invalid="ignore"):
        likelihood = np.nan_to_num(either * np.log(either / (2 * n))) + np.nan_to_num(
            (n - either) * np.log1p(-either / n)
        )
    return (mixture - likelihood >= log(1 / level)) & (second > first)


def latency_broken(
    ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64], bound: float, level: float
) -> npt.NDArray[np.bool_]:
    """Whether the shadow's quantile is significantly above `bound` times the primary's, by counts below each edge."""
    n = ours.shape[1]
    against = log(2.0 / level)
    q = LATENCY_QUANTILE
    few, many = (
        np.full(n, -1),
        np.full(n, n + 1),
    )  # at most `few` below an edge: it is below the quantile; at least `many`: above
    k, above = 0, 0
    for count in range(1, n + 1):
        while mean_evidence(count - k, count, 1 - q) >= against:
            k += 1
        few[count - 1] = k - 1
        above = min(above, count)
        while above <= count and mean_evidence(above, count, q) < against:
            above += 1
        many[count - 1] = above
    edges = [edge for edge in UPPER_EDGES if min(ours.min(), theirs.min()) < edge < max(ours.max(), theirs.max())]
    low, high = np.zeros(ours.shape), np.full(ours.shape, inf)
    for edge in edges:
        low = np.where(np.cumsum(theirs <= edge, axis=1) <= few, edge, low)
        high = np.where((np.cumsum(ours <= edge, axis=1) >= many) & (high == inf), edge, high)
    return low / high > bound


def test_a_shadow_of_the_same_version_is_called_worse_in_at_most_5_percent_of_runs_watched_at_every_request() -> None:
    """The hardest case for every bound: the shadow's true rates are the bounds themselves."""
    rng = np.random.default_rng(20)
    n = 4000
    level = LEVEL / 3
    bounds = Bounds(disagreement=0.005, errors=0.0, latency=1.0)
    shares = rng.random((RUNS, n)) < 0.005
    ours, theirs = rng.random((2, RUNS, n)) < 0.01
    ours_ns, theirs_ns = rng.lognormal(14.0, 0.4, (2, RUNS, n))
    broken = [
        disagreement_broken(shares, 0.005, level),
        errors_broken(ours, theirs, level),
        latency_broken(ours_ns, theirs_ns, 1.0, level / 2),
    ]
    worse = first_of(broken[0] | broken[1] | broken[2])
    assert np.mean(worse >= 0) <= LEVEL
    for run, at in [(0, 99), (1, n - 1), *((run, look) for run, look in enumerate(worse) if look >= 0)]:
        prefix = slice(0, at + 1)
        one = sums(
            compared=at + 1,
            disagreement=float(shares[run, prefix].sum()),
            latency_primary=latencies(ours_ns[run, prefix] / 1e6),
            latency_shadow=latencies(theirs_ns[run, prefix] / 1e6),
        )
        by_name = {finding.name: finding.verdict is Verdict.WORSE for finding in judge(one, bounds).findings}
        assert by_name["disagreement"] == broken[0][run, at]
        assert by_name["latency"] == broken[2][run, at]
        failures = sums(
            compared=int(at + 1 - (ours | theirs)[run, prefix].sum()),
            primary_failed=int((ours & ~theirs)[run, prefix].sum()),
            shadow_failed=int((theirs & ~ours)[run, prefix].sum()),
            both_failed=int((theirs & ours)[run, prefix].sum()),
        )
        errors = next(finding for finding in judge(failures, bounds).findings if finding.name == "errors")
        assert (errors.verdict is Verdict.WORSE) == broken[1][run, at]


@pytest.mark.parametrize("rate", [0.01, 0.02])
def test_the_watching_itself_sees_what_is_worse(rate: float) -> None:
    """The vectorised watch is no test if it cannot bark."""
    broken = disagreement_broken(np.random.default_rng(21).random((RUNS, 20_000)) < rate, 0.005, LEVEL / 3)
    assert np.mean(broken.any(axis=1)) == 1.0
    assert mean_interval(0.01 * 20_000, 20_000, LEVEL / 3).low > 0.005
