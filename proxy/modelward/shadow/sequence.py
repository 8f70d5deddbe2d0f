"""Confidence sequences: intervals of means that hold at all times at once, however often anybody looks.

What is observed are values in [0, 1], in any order of looking and stopping. Their mean is tested by betting: against
the mean m, a value x earns (q / m)^x ((1 - q) / (1 - m))^(1 - x), whose expectation is at most 1 while the mean is m,
for the function is convex in x and its chord reaches 1 there. The product over all values, mixed over q with a
Beta(1/2, 1/2) distribution, depends on the sum and the count alone, and by Ville's inequality passes 1 / level with a
probability of at most `level`, ever. Means m that it has not passed are the interval. Against the best q the mixture
costs half a logarithm of the count and 0.7, wherever the mean is, so that there is nothing to tune.

Sources: Ville (1939); Robbins, "Statistical methods related to the law of the iterated logarithm" (1970); the mixture's
cost, Krichevsky and Trofimov (1981); confidence sequences, Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform,
nonparametric, nonasymptotic confidence sequences" (2021), here their beta-binomial mixture; that it holds for bounded
values as well as for 0 and 1, Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting"
(2024); counts of several kinds, Lindon and Malek, "Anytime-valid inference for multinomial count data" (2022).
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, lgamma, log, pi, sqrt

from msgspec import Struct

HALVINGS = 60  # of an interval no wider than 2: ends are exact to the last bit of a double


class Interval(Struct, frozen=True):
    """What lies outside of low <= value <= high is refuted at the level that was asked for."""

    low: float
    high: float


def mean_interval(total: float, count: float, level: float) -> Interval:
    """Interval of the mean of `count` values in [0, 1] whose sum is `total`.

    The true mean ever leaves it with a probability of at most `level`, 0 < level < 1, whenever and however often it is
    asked for, if every value has that mean given those before it. Nothing seen yet: [0, 1]. Raises ValueError where
    the numbers cannot be a sum and a count of such values.
    """
    _check(total, count, level)
    if count == 0:
        return Interval(0.0, 1.0)
    against = log(1.0 / level)

    def refuted(mean: float) -> bool:
        return _log_wealth(total, count, mean) >= against

    return _between(total / count, 0.0, 1.0, refuted)


def mean_evidence(total: float, count: float, at_most: float) -> float:
    """Natural logarithm of the evidence (an e-process) that the mean of values in [0, 1] is above `at_most`.

    While it is not above, this ever reaches log(1 / level) with a probability of at most `level`. It does so exactly
    where mean_interval(total, count, level).low has reached `at_most`. Evidence of a mean below m is that of
    count - total above 1 - m. Raises ValueError as mean_interval does, and where `at_most` is outside [0, 1].
    """
    _check(total, count, 0.5)
    if not 0.0 <= at_most <= 1.0:
        raise ValueError(f"the mean of values in [0, 1] cannot be {at_most}")
    if count == 0:
        return 0.0
    return _log_wealth(total, count, min(at_most, total / count))


def difference_interval(first: float, second: float, count: float, level: float) -> Interval:
    """Interval of (second - first) / count where, of `count` draws, `first` were of one kind and `second` of another.

    Counts of three kinds (the third is the rest) are tested against their probabilities with a Dirichlet(1/2, 1/2, 1/2)
    mixture; a difference is refuted once every triple of probabilities that has it is. Level and errors as in
    mean_interval; nothing seen yet: [-1, 1].
    """
    _check(first + second, count, level)
    if min(first, second) < 0:
        raise ValueError(f"counts cannot be negative: {first}, {second}")
    if count == 0:
        return Interval(-1.0, 1.0)
    mixed = _log_mixture(first, second, count - first - second)
    against = log(1.0 / level)

    def refuted(difference: float) -> bool:
        return mixed - _log_likelihood_at(first, second, count, difference) >= against

    return _between((second - first) / count, -1.0, 1.0, refuted)


def _check(total: float, count: float, level: float) -> None:
    if not 0 <= total <= count:
        raise ValueError(f"{count} values in [0, 1] cannot have the sum {total}")
    if not 0.0 < level < 1.0:
        raise ValueError(f"a level lies between 0 and 1, not at {level}")


def _between(inside: float, least: float, most: float, refuted: Callable[[float], bool]) -> Interval:
    """The ends of the interval around `inside` where refuted() turns true; it does so once on either side."""
    return Interval(_end(inside, least, refuted), _end(inside, most, refuted))


def _end(inside: float, outside: float, refuted: Callable[[float], bool]) -> float:
    if not refuted(outside):
        return outside
    for _ in range(HALVINGS):
        middle = (inside + outside) / 2
        if refuted(middle):
            outside = middle
        else:
            inside = middle
    return outside


def _log_wealth(total: float, count: float, mean: float) -> float:
    rest = count - total
    return _log_mixture(total, rest) - _times_log(total, mean) - _times_log(rest, 1.0 - mean)


def _log_mixture(*counts: float) -> float:
    """Logarithm of the probability of one sequence with these counts, mixed over Dirichlet(1/2, ...)."""
    kinds = len(counts)
    prior = lgamma(kinds / 2) - kinds * log(pi) / 2
    return prior + sum(lgamma(n + 0.5) for n in counts) - lgamma(sum(counts) + kinds / 2)


def _log_likelihood_at(first: float, second: float, count: float, difference: float) -> float:
    """The largest log-likelihood of the counts over probabilities (t, t + difference, the rest).

    Its derivative in t is zero where 2 count t^2 - b t - c = 0: the larger root, for the smaller is not positive.
    """
    if difference < 0:
        first, second, difference = second, first, -difference
    rest = count - first - second
    b = first + second - difference * (3 * first + second + 2 * rest)
    c = first * difference * (1.0 - difference)
    root = sqrt(b * b + 8.0 * count * c)
    t = (b + root) / (4.0 * count) if b >= 0 else 2.0 * c / (root - b)  # neither subtracts what is nearly equal
    t = min(max(t, 0.0), (1.0 - difference) / 2)
    return (
        _times_log(first, t) + _times_log(second, t + difference) + _times_log(rest, max(1.0 - difference - 2 * t, 0.0))
    )


def _times_log(n: float, p: float) -> float:
    """n log p, where nothing of what cannot be costs nothing."""
    if n == 0:
        return 0.0
    return n * log(p) if p > 0 else -inf
