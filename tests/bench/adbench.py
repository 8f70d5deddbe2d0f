"""The scorer on labelled anomaly tables, beside scikit-learn's detectors in the same run: `make bench-adbench`.

    python -m tests.bench.adbench [--tables DIRECTORY] [--nested] [--json] [--write]

DIRECTORY (or the environment variable ADBENCH) holds .npz files with `X` (rows, features) and `y` (1 = anomaly), as
ADBench (Han et al., 2022) publishes them. Protocol: shuffle the rows (seed 0), train on half of the normal rows (at
most 10,000), test on the rest (at most 20,000 rows), standardise with the training rows' mean and deviation, AUROC per
table, then the mean over tables. `fpr` is the share of unseen normal test rows that are anomalous at
false_positive_rate 0.01 (and 0.001).

--nested says what the choices of the design are worth on a table that had no part in them (tests.bench.nested).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import sklearn
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from modelward.score import Profile
from tests.bench import nested
from tests.bench.tables import split

RESULTS = Path(__file__).parent / "results" / "adbench.md"
# A metric on standardised features, or none at all, changes this one table by more than all others together.
OUTLIER = "44_Wilt"


@dataclass(frozen=True)
class Result:
    table: str
    rows: int
    features: int
    chosen: str
    modelward: float
    nearest: float
    fifth: float
    mean_of_five: float
    forest: float
    fpr_1_percent: float
    fpr_1_permille: float
    fit_seconds: float


DETECTORS = {
    "modelward": "modelward",
    "nearest": "nearest row",
    "fifth": "5th nearest",
    "mean_of_five": "mean of 5",
    "forest": "isolation forest",
}


def measure(path: Path) -> Result:
    train, test, y = split(path)
    start = time.process_time()
    profile = Profile.fit(train)
    fitted = time.process_time() - start
    p_normal = profile.p_value(test[y == 0])
    neighbours = NearestNeighbors(n_neighbors=5).fit(train).kneighbors(test)[0]
    forest = IsolationForest(n_estimators=100, random_state=0).fit(train)
    told = profile.describe()
    return Result(
        table=path.stem,
        rows=len(train),
        features=train.shape[1],
        chosen=f"{told['space']}, {told['neighbours']}",
        modelward=float(roc_auc_score(y, profile.score(test))),
        nearest=float(roc_auc_score(y, neighbours[:, 0])),
        fifth=float(roc_auc_score(y, neighbours[:, -1])),
        mean_of_five=float(roc_auc_score(y, neighbours.mean(axis=1))),
        forest=float(roc_auc_score(y, -forest.score_samples(test))),
        fpr_1_percent=float(np.mean(p_normal <= 0.01)),
        fpr_1_permille=float(np.mean(p_normal <= 0.001)),
        fit_seconds=fitted,
    )


def means(results: Sequence[Result], name: str = "mean") -> Result:
    numbers = [k for k in asdict(results[0]) if k not in ("table", "chosen")]
    columns = {k: float(np.mean([getattr(r, k) for r in results])) for k in numbers}
    whole = {k: int(v) if k in ("rows", "features") else v for k, v in columns.items()}
    return Result(table=name, chosen="", **whole)  # type: ignore[arg-type]


def without(results: Sequence[Result]) -> list[Result]:
    """Without the table that alone could decide the mean."""
    return [r for r in results if r.table != OUTLIER]


def lines(results: list[Result]) -> Iterator[str]:
    names = ("table", "training rows", "features", "chosen", *DETECTORS.values())
    yield f"| {' | '.join(names)} | fpr at 1% | fpr at 0.1% |"
    yield f"|---|---:|---:|---|{'---:|' * (len(DETECTORS) + 2)}"
    rest = without(results)
    averages = [means(results), *([means(rest, f"mean without {OUTLIER}")] if 0 < len(rest) < len(results) else [])]
    for r in [*results, *averages]:
        figures = " | ".join(f"{getattr(r, key):.4f}" for key in DETECTORS)
        rates = f"{r.fpr_1_percent:.2%} | {r.fpr_1_permille:.2%}"
        yield f"| {r.table} | {r.rows} | {r.features} | {r.chosen} | {figures} | {rates} |"


def document(results: list[Result], found: nested.Found | None) -> str:
    versions = f"Python {platform.python_version()}, numpy {np.__version__}, scikit-learn {sklearn.__version__}"
    parts = [
        "# The scorer on ADBench tables",
        "",
        "AUROC (higher is better), and the share of unseen normal rows that are anomalous at `false_positive_rate`",
        "0.01 and 0.001. `chosen` is the space, and how many nearest rows count. Written by `make bench-adbench",
        'ARGS="--tables DIRECTORY --nested --write"`; `tests/bench/adbench.py` says the protocol.',
        f"{len(results)} tables, {versions}. CPU time of all fits: {sum(r.fit_seconds for r in results):.0f} s.",
        "",
        *lines(results),
        "",
    ]
    return "\n".join(parts + (["## Tables left out of the choice", "", *nested.lines(found), ""] if found else []))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", metavar="DIRECTORY", default=os.environ.get("ADBENCH"))
    parser.add_argument("--nested", action="store_true", help="choose among designs without the table that is measured")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--write", action="store_true", help=f"replace {RESULTS.name}")
    arguments = parser.parse_args()
    paths = sorted(Path(arguments.tables).glob("*.npz")) if arguments.tables else []
    if not paths:
        print("no tables: give the directory of ADBench's .npz files with --tables or in ADBENCH", file=sys.stderr)
        return 2
    results = [measure(path) for path in paths]
    found = nested.evaluate(paths, OUTLIER) if arguments.nested else None
    if arguments.json:
        summary = {"tables": [asdict(r) for r in results], "mean": asdict(means(results))}
        if rest := without(results):
            summary["mean_without_outlier"] = asdict(means(rest))
        print(json.dumps({**summary, "nested": found and asdict(found)}, indent=1))
    else:
        print("\n".join([*lines(results), *(["", *nested.lines(found)] if found else [])]))
    if arguments.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(document(results, found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
