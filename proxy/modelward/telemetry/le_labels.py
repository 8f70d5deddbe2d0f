"""The `le` labels of buckets, as Prometheus writes numbers."""

from functools import lru_cache

LONGEST_WHOLE = 6  # digits that are written without an exponent


@lru_cache(maxsize=64)
def le_labels(bounds: tuple[float, ...]) -> tuple[str, ...]:
    """The `le` label of each bucket, as both exposition formats write numbers; kept, since few bounds are in use."""
    return (*map(_as_go, bounds), "+Inf")


def _as_go(bound: float) -> str:
    """As Go writes it, and so Prometheus: from a million on with an exponent."""
    text = repr(float(bound))
    whole, _, fraction = text.partition(".")
    if bound <= 0 or "e" in whole or len(whole) <= LONGEST_WHOLE:
        return text
    mantissa = f"{whole[0]}.{whole[1:]}{fraction}".rstrip("0.")
    return f"{mantissa}e+{len(whole) - 1:02d}"
