"""Nanoseconds per operation of the limiter, the timer wheel and the histogram, against their budgets.

`python -m tests.bench.bench_kernels` prints them; `measure()` gives them to others. Each figure is the median of seven
rounds after one that is thrown away; the loops are compiled, so no call from Python is in it.
"""

import platform
import statistics
from collections.abc import Callable

import numpy as np

from modelward_native.region.region import Region
from modelward_native.testing.limits import Limiter, Meter, measure_admit, measure_hash, request_many
from modelward_native.testing.measure import measure_add_cancel, measure_record
from modelward_native.testing.suspicion import Suspicion
from modelward_native.testing.watch import CELLS, Watch

ROUNDS = 7
OPERATIONS = 300_000
BUDGET_NS = {
    "limit: admit, four levels, 256 peers": 80.0,
    "limit: admit, four levels, 4096 peers": 80.0,
    "limit: refuse, four levels, 256 peers": 80.0,
    "limit: admit, four levels of backend time, 256 peers": 80.0,
    "limit: admit, four levels, two of them shared, 256 peers": 130.0,  # another page of memory for each identity
    "deadline: add + cancel": 30.0,
    "histogram: record": 10.0,
    "detect: a row and its answer, 200 identities": 300.0,
}


def median_ns(once: Callable[[], float]) -> float:
    once()
    return statistics.median(once() for _ in range(ROUNDS))


def limiter_of_four_levels(rate: float, *, shared: bool = False) -> tuple[Limiter, Meter]:
    """shared: identity and total are."""
    limiter = Limiter(region=Region() if shared else None)
    if shared:
        limiter.share(bytes(16))
    limiter.set_peer(rate, 500)
    limiter.set_identity(rate, 500)
    limiter.set_total(rate * 10_000, 500_000)
    return limiter, Meter(rate * 10_000, 500_000)


def admit_ns(peers: int, *, admitted: bool, shared: bool = False) -> float:
    """Every request admitted, or all but the first thousand refused by peer and identity."""
    rate = 1000.0 if admitted else 0.001
    step_ns = 1_000_000 if admitted else 1

    def once() -> float:
        ns, share = measure_admit(*limiter_of_four_levels(rate, shared=shared), peers, OPERATIONS, step_ns)
        if (share == 1.0) is not admitted:
            raise AssertionError(f"{share:.3f} of the requests were admitted: this does not measure what it says")
        return ns

    return median_ns(once)


def admit_timed() -> float:
    """Requests of 50 us each, for which every level has time."""
    limiter, model = Limiter(), Meter(100.0, 10**9, True)
    limiter.set_peer(1.0, 10**9, True)
    limiter.set_identity(1.0, 10**9, True)
    limiter.set_total(100.0, 10**9, True)
    ns, share = measure_admit(limiter, model, 256, OPERATIONS, 1_000_000, 50_000)
    if share != 1.0:
        raise AssertionError(f"{share:.3f} of the requests were admitted: this does not measure what it says")
    return ns


def watch_ns(identities: int) -> float:
    """Rows of 30 features, all of them new; every signal is evidence."""
    rng, features = np.random.default_rng(0), 30
    centers = rng.normal(0, 2, (CELLS, features)).astype(np.float32)
    watch = Watch(Suspicion(Region(), 1 << 20), centers)

    def rows(count: int) -> tuple[np.ndarray, np.ndarray]:
        at = rng.integers(0, CELLS, count, np.int32)
        return (centers[at] + rng.normal(0, 0.5, (count, features))).astype(np.float32), at

    taught, (known, at) = 210_000, rows(210_000)
    names = np.arange(taught).astype(np.uint64) % 200
    times = 10_000_000 + np.arange(taught) // 20
    watch.run(known, at, rng.random(taught), names, names % 2, rng.random(taught), times)
    if watch.phase != "armed":
        raise AssertionError(f"still {watch.phase}: this does not measure what it says")
    names = rng.permutation(identities).astype(np.uint64)
    watch.measure(*rows(1 << 14), names, identities)  # every identity has its record
    return statistics.median(watch.measure(*rows(OPERATIONS // 4), names, OPERATIONS // 4) for _ in range(ROUNDS))


def measure() -> dict[str, float]:
    """Figures by name, in ns per operation; those with a budget are in BUDGET_NS."""
    limiter = Limiter()
    name = b"sixteen bytes of"
    return {
        "limit: admit, four levels, 256 peers": admit_ns(256, admitted=True),
        "limit: admit, four levels, 4096 peers": admit_ns(4096, admitted=True),
        "limit: refuse, four levels, 256 peers": admit_ns(256, admitted=False),
        "limit: admit, four levels of backend time, 256 peers": median_ns(admit_timed),
        "limit: admit, four levels, two of them shared, 256 peers": admit_ns(256, admitted=True, shared=True),
        "limit: hash of 16 bytes (once per connection)": median_ns(lambda: measure_hash(limiter, name, OPERATIONS)),
        "deadline: add + cancel": median_ns(lambda: measure_add_cancel(OPERATIONS, 50_000_000)),
        "histogram: record": median_ns(lambda: measure_record(OPERATIONS)),
        "detect: a row and its answer, 200 identities": watch_ns(200),
        "detect: a row and its answer, 2**20 identities": watch_ns(1 << 20),
    }


def share_of_million_keys_held() -> float:
    """How many of 2**20 new keys, all owing, found a slot of their own in 32 MiB."""
    limiter = Limiter()
    limiter.set_peer(0.001, 1)
    request_many(limiter, 0, 1 << 20, 1_000_000_000)
    return 1 - limiter.overflowed / (1 << 20)


def main() -> None:
    print(f"{platform.processor() or platform.machine()}, median of {ROUNDS} rounds of {OPERATIONS} operations")
    for name, ns in measure().items():
        budget = f"  {ns / BUDGET_NS[name]:5.0%} of {BUDGET_NS[name]:.0f}" if name in BUDGET_NS else ""
        print(f"{name:48} {ns:7.1f} ns{budget}")
    print(f"{'limit: 2**20 debtors held in 32 MiB':48} {share_of_million_keys_held():7.1%}")


if __name__ == "__main__":
    main()
