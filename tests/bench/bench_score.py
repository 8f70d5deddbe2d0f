"""CPU time to score one row against the largest index: standardisation, views and p-value included.

`python -m tests.bench.bench_score [--write]` prints it by number of features, space and instructions; `measure()` gives
nanoseconds to others. Each figure is the fastest of fifteen rounds, as the thread's own CPU time: what other processes
add is not the kernel's. A round scores its rows in one compiled loop, so no call from Python is in it. The weighting of
ten rows is measured, which costs most.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from loadtests.tools import machine
from modelward.score import cells, layout, views
from modelward.score.calibration import calibrate
from modelward.score.cells import Cells
from modelward.score.choice import PLAIN, TWO_VIEWS, Choice
from modelward.score.geometry import fit
from modelward.score.profile import Profile
from modelward.score.words import learn
from modelward_native.score import score as native_score

RESULTS = Path(__file__).parent / "results" / "score.md"
ROUNDS = 15
VALUES = 30_000  # of the rows of one round
BUDGET_NS = {10: 600.0, 30: 1_000.0, 100: 2_000.0}
SIZES = (3, 10, 30, 64, 100, 128, 256, 400, 1_000, 4_096)
SPACES = {"score": TWO_VIEWS, "plain score": PLAIN}
INSTRUCTIONS = {"best": "AVX-512", "avx2": "AVX2", "plain": "plain"}
IMAGE = 3 * 224 * 224


def profile_of(features: int, space: str, kind: int = native_score.VALUES, elements: int | None = None) -> Profile:
    """As many cells and prototypes as there may be, wherever they lie: no search depends on that."""
    rng = np.random.default_rng(0)
    shape = fit(rng.standard_normal((200, features)), Choice(space, "ten"), rng)
    n, d, each = cells.most(shape.dimensions), shape.dimensions, native_score.MAX_PROTOTYPES
    prototypes = rng.standard_normal((n * each, d)).astype(np.float32)
    means = prototypes.reshape(n, each, d).mean(axis=1)
    first, counts = np.arange(n + 1) * each, np.ones(n * each, np.int64)
    shape = replace(shape, cells=Cells(means, np.ones(n, np.float32), first, prototypes, counts))
    curve = calibrate(rng.gamma(9.0, size=5_000))
    plan = layout.plan([("x", kind, features if elements is None else elements)])
    return Profile(plan, shape, curve, learn([]), 5_000)


def fastest_ns(kernel: native_score.Kernel, features: int, instructions: str) -> float:
    rows = np.random.default_rng(1).standard_normal((max(20, VALUES // features), features))

    def once() -> float:
        start = time.thread_time_ns()
        kernel.measure(rows)
        return (time.thread_time_ns() - start) / len(rows)

    native_score.use_instructions(instructions)
    try:
        return min(once() for _ in range(ROUNDS + 1))
    finally:
        native_score.use_instructions("best")


def image_ns() -> float:
    """An image of IMAGE numbers of 32 bits: its reduction to features, and the score of these."""
    kernel = profile_of(2 * native_score.FIXED_BLOCKS, TWO_VIEWS, native_score.BLOCKS, IMAGE).kernel
    image = np.random.default_rng(1).standard_normal(IMAGE).astype(np.float32).tobytes()

    def once() -> float:
        start = time.thread_time_ns()
        kernel.measure_tensors([("FP32", image, IMAGE)], 1)
        return time.thread_time_ns() - start

    return min(once() for _ in range(ROUNDS + 1))


def measure(instructions: str = "best") -> dict[str, float]:
    """Nanoseconds per row by stage name, with the instructions "best" (of this machine), "avx2" or "plain"."""
    return {
        f"{name}: {features} features": fastest_ns(profile_of(features, space).kernel, features, instructions)
        for name, space in SPACES.items()
        for features in BUDGET_NS
    }


def table() -> str:
    """Microseconds by features and space, in a Markdown table."""
    lines = [f"| features | space | {' | '.join(INSTRUCTIONS.values())} |", "|---:|---|---:|---:|---:|"]
    for features in SIZES:
        for space in (TWO_VIEWS, PLAIN) if features <= views.MAX_FEATURES else (PLAIN,):
            kernel = profile_of(features, space).kernel
            found = []
            for instructions in INSTRUCTIONS:
                try:
                    found.append(f"{fastest_ns(kernel, features, instructions) / 1000:.2f}")
                except ValueError:  # an older or another processor
                    found.append("")
            lines.append(f"| {features} | {space} | {' | '.join(found)} |")
    image = f"An image of {IMAGE:,} FP32 elements, reduced to 128 features: {image_ns() / 1000:.0f} us"
    return "\n".join([*lines, "", image])


def document(body: str) -> str:
    return "\n".join(
        [
            "# CPU time of a score",
            "",
            "Microseconds for one row against 128 cells of 32 prototypes. Written by",
            "`python -m tests.bench.bench_score --write`, which says the method.",
            "",
            *(f"- {name}: {fact}" for name, fact in machine.facts().items()),
            "",
            body,
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"replace {RESULTS.name}")
    arguments = parser.parse_args()
    body = table()
    print(f"{machine.cpu()}\n\n{body}")
    if arguments.write:
        RESULTS.write_text(document(body))


if __name__ == "__main__":
    main()
