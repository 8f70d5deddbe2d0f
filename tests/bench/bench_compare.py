"""Nanoseconds to compare a pair of answers, scanning and figures included, and to add one to its version's sketch;
`python -m tests.bench.bench_compare`."""

from statistics import median

import numpy as np

from modelward_native.testing import scan
from modelward_native.testing import shadow as compare

ROUNDS, REPEATS = 9, 50_000


def answer(values: np.ndarray, label: bool = False) -> bytes:
    outputs = [("probabilities", "FP32", list(values.shape), values.astype(np.float32).tobytes())]
    if label:
        outputs.append(("label", "INT64", [len(values)], values.argmax(axis=1).astype(np.int64).tobytes()))
    return scan.reply("fraud_model", "1", outputs=outputs)


def measure() -> dict[str, float]:
    """Figure by name, in nanoseconds."""
    rng = np.random.default_rng(1)
    figures = {}
    for name, shape, label in [
        ("2 scores", (1, 2), False),
        ("2 scores and a label", (1, 2), True),
        ("8 rows of 2 scores", (8, 2), False),
        ("16 scores", (1, 16), False),
        ("4096 scores", (256, 16), False),
    ]:
        values = rng.random(shape)
        one, other = answer(values, label), answer(values + 1e-4 * rng.random(shape), label)
        repeats = REPEATS if values.size <= 16 else REPEATS // 100
        compare.measure_compare(one, other, repeats)  # warm-up
        figures[f"compare, {name}"] = median(compare.measure_compare(one, other, repeats) for _ in range(ROUNDS))
        figures[f"sketch, {name}"] = median(compare.measure_sketch(one, repeats) for _ in range(ROUNDS))
    return figures


def main() -> None:
    for name, figure in measure().items():
        print(f"{name:<40} {figure:8.1f} ns")


if __name__ == "__main__":
    main()
