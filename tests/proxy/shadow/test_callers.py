"""No few callers decide a verdict on a shadow: neither that it is worse, nor that it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from modelward.config.shadow import Bounds
from modelward.shadow.callers import left_out
from modelward.shadow.finding import Verdict
from modelward.shadow.verdict import LEVEL, judge
from modelward_native.shadow.stats import Stats
from modelward_native.telemetry.histogram import EDGES, cell

if TYPE_CHECKING:
    from modelward_native.shadow.stats import Sums

BOUNDS = Bounds(disagreement=0.01, errors=0.01, latency=1.5)
MS = 1_000_000


def caller(compared: int, disagreement: float = 0.0, failed: int = 0, *, slow: int = 0) -> Sums:
    """Of `compared` pairs, and of others in which the shadow failed. slow: pairs where it took ten times as long."""
    ours, theirs = [0] * len(EDGES), [0] * len(EDGES)
    ours[cell(10 * MS)] = compared
    theirs[cell(10 * MS)], theirs[cell(100 * MS)] = compared - slow, slow
    given: dict[str, Any] = {"compared": compared, "disagreement": disagreement, "shadow_failed": failed}
    return {**Stats().sums(), **given, "latency_primary": ours, "latency_shadow": theirs}  # type: ignore[typeddict-item]


def verdict(*callers: Sums) -> Verdict:
    whole: dict[str, Any] = {**callers[0]}
    for other in callers[1:]:
        given: dict[str, Any] = {**other}
        for key in ("compared", "disagreement", "shadow_failed"):
            whole[key] += given[key]
        for key in ("latency_primary", "latency_shadow"):
            whole[key] = [n + m for n, m in zip(whole[key], given[key], strict=True)]
    return judge(whole, BOUNDS, callers=callers).verdict  # type: ignore[arg-type]


LIES = (caller(2000, 2000.0), caller(1, 0, 2000), caller(2000, slow=2000))


@pytest.mark.parametrize("callers", [3, 10, 20, 64])
@pytest.mark.parametrize("lie", LIES, ids=["disagree", "fail", "slow"])
def test_a_tenth_of_the_callers_make_no_good_shadow_worse(callers: int, lie: Sums) -> None:
    liars = left_out(callers)
    # of three callers a liar sends less than half of the pairs
    honest = [caller(2001)] * (callers - liars)
    assert verdict(*honest, *[lie] * liars) is not Verdict.WORSE
    more_than_a_tenth = liars + (1 if lie["latency_shadow"] == LIES[0]["latency_shadow"] else callers // 10 + 1)
    assert verdict(*honest, *[lie] * more_than_a_tenth) is Verdict.WORSE


@pytest.mark.parametrize("callers", [3, 10, 20, 64])
@pytest.mark.parametrize("truth", [caller(1900, 200.0), caller(1900, 0, 200), caller(2000, slow=1000)])
def test_nor_do_they_make_a_bad_one_good_however_many_their_requests_are(callers: int, truth: Sums) -> None:
    liars = left_out(callers)
    honest = [truth] * (callers - liars)
    assert verdict(*honest) is Verdict.WORSE
    assert verdict(*honest, *[caller(10_000_000)] * liars) is Verdict.WORSE


def test_a_caller_with_half_of_all_pairs_is_believed_and_so_is_each_of_two() -> None:
    gateway, probe = caller(20_000, 1000.0), caller(10)
    assert verdict(gateway, *[probe] * 5) is Verdict.WORSE
    assert verdict(caller(5000, 500.0), caller(5000)) is Verdict.WORSE
    assert verdict(caller(20_000), *[probe] * 5) is Verdict.EQUIVALENT


def test_a_shadow_at_its_bound_is_called_worse_by_chance_in_at_most_5_percent_of_runs() -> None:
    """The callers differ, and those who are left out are chosen by what they show."""
    rng = np.random.default_rng(5)
    bounds = Bounds(disagreement=0.05, errors=None)
    runs, worse = 40, 0
    for _ in range(runs):
        rates = rng.dirichlet(np.full(8, 5.0)) * 8 * 0.05
        counts, disagreed = np.zeros(8, int), np.zeros(8, int)
        for _ in range(20):
            more = rng.poisson(30, size=8)
            counts += more
            disagreed += rng.binomial(more, rates)
            callers = [caller(int(n), float(d)) for n, d in zip(counts, disagreed, strict=True)]
            whole = caller(int(counts.sum()), float(disagreed.sum()))
            if judge(whole, bounds, callers=callers).verdict is Verdict.WORSE:
                worse += 1
                break
    assert worse <= LEVEL * runs
