"""The scorer on labelled anomaly tables, beside scikit-learn's detectors in the same run.

    python -m tests.bench.adbench [DIRECTORY] [--json] [--write]

DIRECTORY (or the environment variable ADBENCH) holds .npz files with `X` (rows, features) and `y` (1 = anomaly), as
ADBench (Han et al., 2022) publishes them. Protocol: shuffle the rows (seed 0), train on half of the normal rows (at
most 10,000), test on the rest (at most 20,000 rows), standardise with the training rows' mean and deviation, AUROC per
table, then the mean over tables. `fpr` is the share of unseen normal test rows that are anomalous at
false_positive_rate 0.01 (and 0.001).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import sklearn
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from modelward.score import Profile

RESULTS = Path(__file__).parent / "results" / "adbench.md"
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Result:
    table: str
    rows: int
    features: int
    modelward: float
    isolation_forest: float
    knn_mean: float
    knn_5th: float
    fpr_1_percent: float
    fpr_1_permille: float
    fit_seconds: float


def split(path: Path) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
    """Training rows, test rows and the test rows' labels, standardised."""
    with np.load(path, allow_pickle=False) as file:
        X, y = file["X"].astype(np.float64), file["y"].astype(np.int64).ravel()
    order = np.random.default_rng(0).permutation(len(X))
    X, y = X[order], y[order]
    normal = np.flatnonzero(y == 0)
    half = len(normal) // 2
    train = normal[:half][:10_000]
    test = np.setdiff1d(np.arange(len(X)), normal[:half])[:20_000]
    mean, deviation = X[train].mean(axis=0), X[train].std(axis=0)
    X = (X - mean) / np.where(deviation > 0, deviation, 1.0)
    return X[train], X[test], y[test]


def measure(path: Path) -> Result:
    train, test, y = split(path)
    start = time.perf_counter()
    profile = Profile.fit(train)
    fitted = time.perf_counter() - start
    p_normal = profile.p_value(test[y == 0])
    neighbours = NearestNeighbors(n_neighbors=5).fit(train).kneighbors(test)[0]
    forest = IsolationForest(n_estimators=100, random_state=0).fit(train)
    return Result(
        table=path.stem,
        rows=len(train),
        features=train.shape[1],
        modelward=float(roc_auc_score(y, profile.score(test))),
        isolation_forest=float(roc_auc_score(y, -forest.score_samples(test))),
        knn_mean=float(roc_auc_score(y, neighbours.mean(axis=1))),
        knn_5th=float(roc_auc_score(y, neighbours[:, -1])),
        fpr_1_percent=float(np.mean(p_normal <= 0.01)),
        fpr_1_permille=float(np.mean(p_normal <= 0.001)),
        fit_seconds=fitted,
    )


def means(results: list[Result]) -> Result:
    columns = {k: float(np.mean([getattr(r, k) for r in results])) for k in asdict(results[0]) if k != "table"}
    return Result(table="mean", **{k: int(v) if k in ("rows", "features") else v for k, v in columns.items()})


def lines(results: list[Result]) -> Iterator[str]:
    names = ("table", "training rows", "features", "modelward", "isolation forest", "k-NN mean", "k-NN 5th")
    yield f"| {' | '.join(names)} | fpr at 1% | fpr at 0.1% |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    for r in [*results, means(results)]:
        scores = (r.modelward, r.isolation_forest, r.knn_mean, r.knn_5th)
        figures = " | ".join(f"{s:.4f}" for s in scores)
        yield f"| {r.table} | {r.rows} | {r.features} | {figures} | {r.fpr_1_percent:.2%} | {r.fpr_1_permille:.2%} |"


def document(results: list[Result]) -> str:
    versions = f"Python {platform.python_version()}, numpy {np.__version__}, scikit-learn {sklearn.__version__}"
    return "\n".join(
        [
            "# The scorer on ADBench tables",
            "",
            "AUROC (higher is better), and the share of unseen normal rows that are anomalous at `false_positive_rate`",
            "0.01 and 0.001. Written by `python -m tests.bench.adbench DIRECTORY --write`, which says the protocol.",
            f"{len(results)} tables, {versions}. All fits together: {sum(r.fit_seconds for r in results):.0f} s.",
            "",
            *lines(results),
            "",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="?", default=os.environ.get("ADBENCH"))
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--write", action="store_true", help=f"replace {RESULTS.name}")
    arguments = parser.parse_args()
    paths = sorted(Path(arguments.directory).glob("*.npz")) if arguments.directory else []
    if not paths:
        print("no tables: give the directory of ADBench's .npz files as argument or in ADBENCH", file=sys.stderr)
        return 2
    results = [measure(path) for path in paths]
    if arguments.json:
        print(json.dumps({"tables": [asdict(r) for r in results], "mean": asdict(means(results))}, indent=1))
    else:
        print("\n".join(lines(results)))
    if arguments.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(document(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
