"""A profile as a file: one .npz, no pickles, versioned. The writer of the file is not trusted."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from msgspec.structs import asdict

from modelward.atomic_file import replacing
from modelward.bounded_file import read_regular
from modelward.npz import DAMAGE, read_arrays
from modelward.score import calibration, cells, layout, views
from modelward.score.calibration import Calibration
from modelward.score.cells import Cells
from modelward.score.errors import ProfileError
from modelward.score.geometry import Geometry
from modelward.score.layout import Layout
from modelward.score.size import MAX_FILE
from modelward.score.views import Views
from modelward.score.words import MAX_TEXT, Words
from modelward_native.score.score import KNOTS, MAX_CELLS, MAX_INPUTS, MAX_PROTOTYPES, NEIGHBOURS

FILE_MODE = 0o644  # workers of another user may read it
VERSION = 2
MEND = "; `modelward profile fit` writes one"
MAX_FEATURES = 1 << 17  # of all inputs
MAX_STANDARDISED = 1e9  # no prototype lies farther out, in standard deviations; keeps squares within float's range
MIN_QUARTILE, MIN_WEIGHT = 1e-6, 1e-6
MAX_COUNT = 1 << 40  # training rows behind all prototypes

# name -> (kinds of datatype, dimensions)
ARRAYS = {
    "version": ("iu", 0),
    "trained_rows": ("iu", 0),
    "input_name": ("U", 1),
    "input_kind": ("iu", 1),
    "input_elements": ("iu", 1),
    "mean": ("f", 1),
    "scale": ("f", 1),
    "low": ("f", 1),
    "high": ("f", 1),
    # of two views; empty where distances are measured between standardised rows
    "middle": ("f", 1),
    "quartile": ("f", 1),
    "knots": ("f", 2),
    "normals": ("f", 2),
    "metric": ("f", 2),
    "cell_mean": ("f", 2),
    "cell_radius": ("f", 1),
    "cell_first": ("iu", 1),
    "prototypes": ("f", 2),
    "counts": ("iu", 1),
    "weights": ("f", 1),
    "knot_score": ("f", 1),
    "knot_p": ("f", 1),
    "tail_index": ("f", 0),
    "text": ("u", 1),
    "words": ("u", 1),
    "column_words": ("iu", 1),
    "is_open": ("u", 1),
}

VIEWS = ("middle", "quartile", "knots", "normals", "metric")

Arrays = dict[str, npt.NDArray[Any]]


class Parts(NamedTuple):
    layout: Layout
    geometry: Geometry
    calibration: Calibration
    words: Words
    trained_rows: int


def save(path: str | os.PathLike[str], parts: Parts) -> None:
    plan, shape, curve, known, trained_rows = parts
    two = shape.views
    arrays: dict[str, Any] = {
        "version": np.int64(VERSION),
        "trained_rows": np.int64(trained_rows),
        "input_name": np.array([i.name for i in plan.inputs], np.str_),
        "input_kind": np.array([i.kind for i in plan.inputs], np.int32),
        "input_elements": np.array([i.elements for i in plan.inputs], np.int64),
        "mean": shape.mean,
        "scale": shape.scale,
        "low": shape.low,
        "high": shape.high,
        **({key: np.zeros((0,) * ARRAYS[key][1]) for key in VIEWS} if two is None else asdict(two)),
        "cell_mean": shape.cells.means,
        "cell_radius": shape.cells.radius,
        "cell_first": shape.cells.first,
        "prototypes": shape.cells.prototypes,
        "counts": shape.cells.counts,
        "weights": shape.weights,
        "knot_score": curve.knot_score,
        "knot_p": curve.knot_p,
        "tail_index": np.float64(curve.tail_index),
        "text": known.text,
        "words": known.starts,
        "column_words": known.columns,
        "is_open": known.is_open,
    }
    with replacing(Path(path), FILE_MODE) as file:
        np.savez(file, allow_pickle=False, **arrays)


def load(path: str | os.PathLike[str], data: bytes | None = None) -> Parts:
    name = os.fspath(path)
    arrays = _read(name, data)

    def require(condition: Any, what: str) -> None:
        if not condition:
            raise ProfileError(f"{name} is not a usable profile: {what}; fit it again")

    for key, array in arrays.items():
        require(array.dtype.kind != "f" or np.isfinite(array).all(), f"{key} holds NaN or an infinity")
    plan = _layout(arrays, require)
    shape = _geometry(arrays, plan, require)
    curve = _calibration(arrays, require)
    known = Words(
        arrays["text"].astype(np.uint8),
        arrays["words"].astype(np.uint64),
        arrays["column_words"].astype(np.int64),
        arrays["is_open"].astype(np.uint8),
    )
    require(len(known.is_open) == plan.columns, f"it has {len(known.is_open)} category columns, not {plan.columns}")
    require(len(known.text) <= MAX_TEXT * max(1, plan.columns), "its categories are too long")
    require(len(known.starts) >= 1 and len(known.columns) >= 1, "its categories are missing")
    trained_rows = int(arrays["trained_rows"])
    require(trained_rows >= int(shape.cells.counts.sum()), "its cells hold more rows than it was trained on")
    return Parts(plan, shape, curve, known, trained_rows)


def _read(name: str, data: bytes | None) -> Arrays:
    try:
        arrays = read_arrays(read_regular(Path(name), MAX_FILE) if data is None else data, MAX_FILE)
    except OSError as error:
        raise ProfileError(f"{name} cannot be read: {error.strerror or error}") from error
    except DAMAGE as error:
        raise ProfileError(f"{name} is not a profile (.npz): {error}") from error
    version = arrays.get("version")
    if version is not None and version.dtype.kind in "iu" and version.ndim == 0 and version != VERSION:
        other = "an earlier" if version < VERSION else "a later"
        raise ProfileError(
            f"{name} was fitted by {other} version of Modelward (format {version}, this one reads {VERSION}); "
            "fit it again"
        )
    if missing := [key for key in ARRAYS if key not in arrays]:
        raise ProfileError(f"{name} is not a profile: it has no array {missing[0]!r}{MEND}")
    arrays = {key: arrays[key] for key in ARRAYS}
    for key, (kinds, dimensions) in ARRAYS.items():
        if arrays[key].dtype.kind not in kinds or arrays[key].ndim != dimensions:
            found = f"{arrays[key].dtype} in {arrays[key].ndim} dimensions"
            raise ProfileError(f"{name} is not a profile: {key} is {found}{MEND}")
    return arrays


Require = Callable[[Any, str], None]


def _layout(arrays: Arrays, require: Require) -> Layout:
    names, kinds, sizes = (arrays[k].tolist() for k in ("input_name", "input_kind", "input_elements"))
    require(1 <= len(names) <= MAX_INPUTS, f"it has {len(names)} inputs")
    require(len(names) == len(kinds) == len(sizes), "its inputs are described by different numbers of entries")
    require(len(set(names)) == len(names), "two inputs have the same name")
    require(set(kinds) <= set(layout.KIND_NAMES), "an input is of an unknown kind")
    require(all(-1 <= n <= 1 << 40 for n in sizes), "an input has an impossible number of elements")
    try:
        plan = layout.plan(zip(names, kinds, sizes, strict=True))
    except ProfileError as error:
        require(False, str(error))
        raise
    require(plan.features <= MAX_FEATURES and plan.columns <= MAX_FEATURES, "it has too many features")
    return plan


def _geometry(arrays: Arrays, plan: Layout, require: Require) -> Geometry:
    f = plan.features
    for key in ("mean", "scale", "low", "high"):
        require(arrays[key].shape == (f,), f"{key} has shape {arrays[key].shape} instead of {(f,)}")
    scale = arrays["scale"]
    require((np.abs(arrays["mean"]) <= layout.MAX_MAGNITUDE).all(), "mean is out of range")
    require(((scale > 1e-300) & (scale <= layout.MAX_MAGNITUDE)).all(), "scale is out of range")
    require((arrays["low"] <= arrays["high"]).all(), "low is above high")
    for key in ("low", "high", *VIEWS, "cell_mean", "cell_radius", "prototypes", "weights"):
        require((np.abs(arrays[key]) <= MAX_STANDARDISED).all(), f"{key} is out of range")
    weights = arrays["weights"]
    require(1 <= len(weights) <= NEIGHBOURS, f"it has {len(weights)} weights")
    require((weights >= MIN_WEIGHT).all(), "its weights are not positive")
    two = _views(arrays, f, require)
    return Geometry(
        arrays["mean"].astype(np.float64),
        scale.astype(np.float64),
        arrays["low"].astype(np.float32),
        arrays["high"].astype(np.float32),
        two,
        _cells(arrays, f if two is None else 2 * f, require),
        weights.astype(np.float64),
    )


def _views(arrays: Arrays, f: int, require: Require) -> Views | None:
    if not any(arrays[key].size for key in VIEWS):
        return None
    require(f <= views.MAX_FEATURES, "its views have too many features")
    shapes = {"middle": (f,), "quartile": (f,), "knots": (f, KNOTS), "normals": (f, KNOTS), "metric": (f, f)}
    for key, wanted in shapes.items():
        require(arrays[key].shape == wanted, f"{key} has shape {arrays[key].shape} instead of {wanted}")
    require((arrays["quartile"] >= MIN_QUARTILE).all(), "quartile is out of range")
    # as the kernel computes them: in single precision, knots that are equal must be so
    knots, normals = (arrays[key].astype(np.float32).astype(np.float64) for key in ("knots", "normals"))
    width, height = np.diff(knots), np.diff(normals)
    require((width >= 0).all() and (height >= 0).all(), "a curve of its quantile view falls")
    require((height <= MAX_STANDARDISED * width).all(), "a curve of its quantile view is too steep")
    return Views(*(arrays[key].astype(np.float32) for key in VIEWS))


def _cells(arrays: Arrays, d: int, require: Require) -> Cells:
    n, m = len(arrays["cell_radius"]), len(arrays["counts"])
    require(1 <= n <= MAX_CELLS and n <= cells.most(d), f"it has {n} cells")
    for key, wanted in {"cell_mean": (n, d), "cell_first": (n + 1,), "prototypes": (m, d)}.items():
        require(arrays[key].shape == wanted, f"{key} has shape {arrays[key].shape} instead of {wanted}")
    first, counts = arrays["cell_first"].astype(np.int64), arrays["counts"]
    sizes = np.diff(first)
    require(first[0] == 0 and first[-1] == m and (sizes >= 1).all(), "cell_first does not divide the prototypes")
    require((sizes <= MAX_PROTOTYPES).all(), "a cell has too many prototypes")
    require((counts >= 1).all() and counts.max() <= MAX_COUNT, "its prototypes stand for no rows")
    require((arrays["cell_radius"] >= 0).all(), "cell_radius is negative")
    means, radius, prototypes = (arrays[key].astype(np.float32) for key in ("cell_mean", "cell_radius", "prototypes"))
    return Cells(means, radius, first, prototypes, counts.astype(np.int64))


def _calibration(arrays: Arrays, require: Require) -> Calibration:
    score, p, tail_index = arrays["knot_score"], arrays["knot_p"], float(arrays["tail_index"])
    require(1 <= len(score) == len(p) <= calibration.MAX_KNOTS + 1, "its calibration has no or unequal knots")
    require((score >= 0).all() and (np.diff(score) > 0).all(), "scores of its calibration do not rise")
    require(((p > 0) & (p <= 1)).all() and (np.diff(p) < 0).all(), "p-values of its calibration do not fall")
    require(0 < tail_index <= calibration.MAX_TAIL_INDEX, "its tail is impossible")
    return Calibration(score.astype(np.float64), p.astype(np.float64), tail_index)
