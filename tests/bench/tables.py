"""Labelled tables of ADBench, divided as every figure of the scorer divides them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


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
