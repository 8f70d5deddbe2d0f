"""Other detectors on the same rows: run by a Python that has river, or alibi-detect; knows nothing of this project.

    python drift_peers.py STREAMS.npz DETECTOR

STREAMS.npz has `reference` (rows, columns), `quiet` (rows, columns), and `stream0`, `stream1`, ... Prints a JSON line
with the rows per false alarm in `quiet`, and of each stream after how many rows the change was told; -1: it was not.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

RATE = 1000
DELTAS = (0.9, 0.5, 0.2, 0.05, 0.01, 0.002, 0.0005)
"""Of ADWIN: the largest that keeps the rate on the reference is taken, since its own statement is far too careful."""
CALIBRATED_ROWS = 20_000
REFERENCE_ROWS = 1000

warnings.filterwarnings("ignore")


class River:
    """One detector for each column; any of them tells."""

    def __init__(self, make: Callable[[], Any], reference: Any) -> None:
        self.make, self.reference = make, reference
        self.reset()

    def reset(self) -> None:
        self.each = [self.make() for _ in range(self.reference.shape[1])]
        for row in self.reference:
            self.told(row)

    def told(self, row: Any) -> bool:
        found = False
        for detector, value in zip(self.each, row.tolist()):  # noqa: B905
            detector.update(value)
            found |= detector.drift_detected
        return found


class Alibi:
    def __init__(self, detector: Any) -> None:
        self.detector = detector

    def reset(self) -> None:
        self.detector.reset_state()

    def told(self, row: Any) -> bool:
        return bool(self.detector.predict(row.astype(np.float32))["data"]["is_drift"])


def adwin(reference: Any) -> Any:
    from river.drift import ADWIN  # noqa: PLC0415

    rows = reference[np.random.default_rng(0).integers(0, len(reference), CALIBRATED_ROWS)]
    for delta in DELTAS:
        found = River(lambda delta=delta: ADWIN(delta=delta), reference)  # type: ignore[misc]
        if sum(found.told(row) for row in rows) <= CALIBRATED_ROWS / RATE:
            break
    found.reset()
    return found


class Remembered:
    """scipy's Kolmogorov-Smirnov test for KSWIN. With as many values on either side its p-value depends on the distance
    alone, so each is asked for once: the answers are the same, in a fraction of the time."""

    def __init__(self, test: Callable[..., Any]) -> None:
        self.test = test
        self.known: dict[tuple[int, int], Any] = {}

    def ks_2samp(self, ours: Any, theirs: Any, method: str) -> Any:
        one, other = np.sort(ours), np.sort(theirs)
        both = np.concatenate([one, other])
        apart = np.searchsorted(one, both, side="right") - np.searchsorted(other, both, side="right")
        key = len(one), int(np.abs(apart).max())
        if key not in self.known:
            self.known[key] = tuple(self.test(ours, theirs, method=method))
        return self.known[key]


def kswin(reference: Any) -> Any:
    from river.drift import KSWIN  # noqa: PLC0415
    from river.drift import kswin as module  # noqa: PLC0415

    module.stats = Remembered(module.stats.ks_2samp)
    return River(lambda: KSWIN(alpha=1 / (RATE * reference.shape[1]), seed=0), reference[-200:])


def mmd(reference: Any) -> Any:
    import torch  # noqa: PLC0415
    from alibi_detect.cd import MMDDriftOnline  # noqa: PLC0415

    torch.set_num_threads(1)
    rows = reference[-REFERENCE_ROWS:].astype(np.float32)
    with contextlib.redirect_stdout(io.StringIO()):
        return Alibi(MMDDriftOnline(rows, RATE, 50, backend="pytorch", n_bootstraps=2 * RATE, verbose=False))


def cvm(reference: Any) -> Any:
    from alibi_detect.cd import CVMDriftOnline  # noqa: PLC0415

    rows = reference[-REFERENCE_ROWS:].astype(np.float32)
    count = 2 * RATE * rows.shape[1]
    with contextlib.redirect_stdout(io.StringIO()):
        return Alibi(CVMDriftOnline(rows, RATE, [20, 60], n_bootstraps=count, verbose=False))


def main(file: str, name: str) -> None:
    streams = {key: np.nan_to_num(rows) for key, rows in np.load(file).items()}  # they take no missing values
    detector = {"adwin": adwin, "kswin": kswin, "mmd": mmd, "cvm": cvm}[name](streams["reference"])
    alarms = 0
    for row in streams["quiet"]:
        if detector.told(row):
            alarms += 1
            detector.reset()
    delays = []
    for i in range(len(streams) - 2):
        detector.reset()
        delays.append(next((n + 1 for n, row in enumerate(streams[f"stream{i}"]) if detector.told(row)), -1))
    print(json.dumps({"alarms": alarms, "delays": delays}))


if __name__ == "__main__":
    main(*sys.argv[1:])
