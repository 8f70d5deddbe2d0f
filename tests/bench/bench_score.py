"""Nanoseconds to score one row against 256 centroids, standardisation, metric and p-value included.

`python -m tests.bench.bench_score` prints them; `measure()` gives them to others. Each figure is the median of fifteen
rounds after one that is thrown away; a round scores 1,000 rows in one compiled loop, so no call from Python is in it.
"""

from __future__ import annotations

import platform
import statistics
import time
from pathlib import Path

import numpy as np

from modelward.score import geometry
from modelward.score.calibration import calibrate
from modelward.score.layout import plan
from modelward.score.profile import Profile
from modelward.score.words import learn
from modelward_native.score import score as native_score

ROUNDS = 15
ROWS = 1_000
BUDGET_NS = {10: 400.0, 30: 600.0, 100: 2_000.0}


def profile_of(features: int) -> Profile:
    rng = np.random.default_rng(0)
    shape = geometry.fit(rng.standard_normal((5_000, features)), rng)
    curve = calibrate(rng.gamma(9.0, size=5_000))
    return Profile(plan([("x", native_score.VALUES, features)]), shape, curve, learn([]), 5_000)


def median_ns(features: int, instructions: str) -> float:
    kernel = profile_of(features).kernel
    rows = np.random.default_rng(1).standard_normal((ROWS, features))

    def once() -> float:
        start = time.perf_counter_ns()
        kernel.measure(rows)
        return (time.perf_counter_ns() - start) / ROWS

    native_score.use_instructions(instructions)
    try:
        once()
        return statistics.median(once() for _ in range(ROUNDS))
    finally:
        native_score.use_instructions("best")


def measure(instructions: str = "best") -> dict[str, float]:
    """Median nanoseconds per row by stage name, with the instructions "best" (of this machine), "avx2" or "plain"."""
    return {f"score: {features} features": median_ns(features, instructions) for features in BUDGET_NS}


def machine() -> str:
    try:
        info = Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux: the architecture alone
        info = ""
    model = next((line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith("model name")), "")
    return f"{model or platform.machine()}, Python {platform.python_version()}"


def main() -> None:
    print(machine())
    for instructions in ("best", "avx2", "plain"):
        try:
            figures = measure(instructions)
        except ValueError as error:  # an older or another processor
            print(error)
            continue
        for (name, ns), budget in zip(figures.items(), BUDGET_NS.values(), strict=True):
            print(f"{name:22s} {instructions:6s} {ns:7.0f} ns   {ns / budget:.2f} of {budget:.0f}")


if __name__ == "__main__":
    main()
