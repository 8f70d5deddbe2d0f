"""Models that the load tests serve, and the training rows that the profile of the raced one is fitted to."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper, numpy_helper

from modelward.score import Profile
from tests.models import BATCH, model, tensor

# A name of 17 bytes and an input named X make the request 156 bytes, the size that the design's figures are for.
MLP = "breast-cancer-mlp"
FEATURES = 30
LAYERS = (FEATURES, 64, 32, 2)
TRAINING_ROWS = 4_000

Floats = npt.NDArray[np.float32]


def mlp(seed: int = 0) -> bytes:
    """X FP32 [batch, 30] -> label INT64 [batch] and probabilities FP32 [batch, 2]; layers 64 and 32, random weights."""
    rng = np.random.default_rng(seed)
    nodes, weights, below = [], [], "X"
    for i, (inputs, outputs) in enumerate(itertools.pairwise(LAYERS)):
        scale = np.sqrt(2 / inputs)
        matrix = scale * rng.normal(size=(inputs, outputs))
        weights.append(numpy_helper.from_array(matrix.astype(np.float32), f"w{i}"))
        weights.append(numpy_helper.from_array(np.zeros(outputs, np.float32), f"b{i}"))
        nodes.append(helper.make_node("Gemm", [below, f"w{i}", f"b{i}"], [f"sum{i}"]))
        below = f"sum{i}"
        if outputs != LAYERS[-1]:
            nodes.append(helper.make_node("Relu", [below], [f"layer{i}"]))
            below = f"layer{i}"
    nodes.append(helper.make_node("Softmax", [below], ["probabilities"], axis=1))
    nodes.append(helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0))
    encoded: bytes = model(
        nodes,
        [tensor("X", TensorProto.FLOAT, [BATCH, FEATURES])],
        [tensor("label", TensorProto.INT64, [BATCH]), tensor("probabilities", TensorProto.FLOAT, [BATCH, LAYERS[-1]])],
        weights,
    ).SerializeToString()
    return encoded


def tiled(columns: int) -> bytes:
    """x FP32 [batch, 4] -> y FP32 [batch, columns], x again and again: an answer much larger than its request."""
    repeats = numpy_helper.from_array(np.array([1, columns // 4], np.int64), "repeats")
    encoded: bytes = model(
        [helper.make_node("Tile", ["x", "repeats"], ["y"])],
        [tensor("x", TensorProto.FLOAT, [BATCH, 4])],
        [tensor("y", TensorProto.FLOAT, [BATCH, columns])],
        [repeats],
    ).SerializeToString()
    return encoded


def training_rows() -> Floats:
    """Ordinary rows of the MLP, correlated as measurements are."""
    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(8, FEATURES))
    rows = rng.normal(size=(TRAINING_ROWS, 8)) @ mixing + 0.3 * rng.normal(size=(TRAINING_ROWS, FEATURES))
    return rows.astype(np.float32)


def ordinary_row() -> Floats:
    """[1, 30], as ordinary as a training row gets."""
    return training_rows()[:1]


def outlier() -> Floats:
    """[1, 30], unlike any training row and within what their ranges allow to be measured."""
    return np.where(np.arange(FEATURES) % 2, 6.0, -6.0).astype(np.float32)[None]


def save_profile(path: Path) -> None:
    Profile.fit({"X": training_rows()}).save(path)
