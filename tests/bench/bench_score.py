"""Nanoseconds to score one row against the largest index, standardisation, views and p-value included.

`python -m tests.bench.bench_score` prints them; `measure()` gives them to others. Each figure is the median of fifteen
rounds after one that is thrown away; a round scores 1,000 rows in one compiled loop, so no call from Python is in it.
The most expensive weighting is measured, that of ten rows, in two views and in the plain space.
"""

from __future__ import annotations

import platform
import statistics
import time
from itertools import cycle
from pathlib import Path

import numpy as np

from modelward.score import geometry
from modelward.score.calibration import calibrate
from modelward.score.choice import PLAIN, TWO_VIEWS, Choice
from modelward.score.layout import plan
from modelward.score.profile import Profile
from modelward.score.words import learn
from modelward_native.score import score as native_score

ROUNDS = 15
ROWS = 1_000
BUDGET_NS = {10: 600.0, 30: 1_000.0, 100: 2_000.0}
SPACES = {"score": TWO_VIEWS, "plain score": PLAIN}


def profile_of(features: int, space: str = TWO_VIEWS) -> Profile:
    rng = np.random.default_rng(0)
    shape = geometry.fit(rng.standard_normal((5_000, features)), Choice(space, "ten"), rng)
    curve = calibrate(rng.gamma(9.0, size=5_000))
    return Profile(plan([("x", native_score.VALUES, features)]), shape, curve, learn([]), 5_000)


def median_ns(features: int, instructions: str, space: str = TWO_VIEWS) -> float:
    kernel = profile_of(features, space).kernel
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
    return {
        f"{name}: {features} features": median_ns(features, instructions, space)
        for name, space in SPACES.items()
        for features in BUDGET_NS
    }


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
        for (name, ns), budget in zip(figures.items(), cycle(BUDGET_NS.values())):
            print(f"{name:26s} {instructions:6s} {ns:7.0f} ns   {ns / budget:.2f} of {budget:.0f}")


if __name__ == "__main__":
    main()
