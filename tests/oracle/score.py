"""The anomaly kernel again, slowly, in float64 numpy: what score/score.c and gather.c must agree with."""

import struct

import numpy as np

from modelward_native.score import score as native_score

NUMPY = {
    "BOOL": "u1", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1", "INT16": "<i2",
    "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
LIMIT = 1e9
NOT_A_NUMBER, OUT_OF_RANGE, UNKNOWN_CATEGORY = 1, 2, 4


def standardise(geometry, rows):
    with np.errstate(all="ignore"):
        z = np.clip((np.asarray(rows, np.float64) - geometry.mean) / geometry.scale, -1e30, 1e30)
        return np.where(np.isfinite(rows), z, np.nan).astype(np.float32)


def measure(geometry, calibration, rows, unknown=None):
    """score, p-value, flags, nearest prototype, nearest cell of raw rows (n, f) and unknown categories (n, c)."""
    out = []
    for i, z in enumerate(standardise(geometry, rows)):
        flags = NOT_A_NUMBER * bool(np.isnan(z).any())
        flags |= OUT_OF_RANGE * bool(((z < geometry.low) | (z > geometry.high)).any())
        flags |= UNKNOWN_CATEGORY * bool(unknown is not None and np.any(unknown[i]))
        if flags:
            out.append((LIMIT, 0.0, flags, -1, -1))
            continue
        distance, nearest, cell = mean_distance(geometry, z.astype(np.float64))
        out.append((distance, p_value(calibration, distance), 0, nearest, cell))
    return [np.array(column) for column in zip(*out, strict=True)]


def place(geometry, z):
    """Where a standardised row lies in the space of distances."""
    if geometry.views is None:
        return z
    views = geometry.views
    robust = np.clip((z - views.middle) / views.quartile, -1000, 1000)
    quantile = np.array([curve(*each) for each in zip(z, views.knots, views.normals, strict=True)])
    return np.concatenate([robust, np.clip(quantile, -1000, 1000) @ views.metric.astype(np.float64)])


def curve(z, knots, normals):
    """The line through the two knots around z; beyond the first and the last, a slope of 1."""
    knots, normals = knots.astype(np.float64), normals.astype(np.float64)
    if z < knots[0]:
        return normals[0] + (z - knots[0])
    below = int(np.flatnonzero(knots <= z)[-1])
    if below == len(knots) - 1:
        return normals[-1] + (z - knots[-1])
    slope = (normals[below + 1] - normals[below]) / (knots[below + 1] - knots[below])
    return normals[below] + slope * (z - knots[below])


def mean_distance(geometry, z):
    """Weighted mean distance to the nearest rows, the nearest prototype (32 x its cell, and which of the cell), the
    nearest cell."""
    cells, at = geometry.cells, place(geometry, z)
    by_mean = np.argsort(((at - cells.means) ** 2).sum(axis=1), kind="stable")
    looked_at = by_mean[: 4 if geometry.dimensions <= 128 else 2]
    found = []
    for cell in looked_at.tolist():
        for which, prototype in enumerate(range(cells.first[cell], cells.first[cell + 1])):
            distance = np.sqrt(((at - cells.prototypes[prototype].astype(np.float64)) ** 2).sum())
            found.append((distance, 32 * cell + which, int(cells.counts[prototype])))
    found.sort()
    every_row = [distance for distance, _, count in found for _ in range(min(count, 10))][: len(geometry.weights)]
    weights = geometry.weights[: len(every_row)]
    return float(np.dot(weights, every_row) / weights.sum()), found[0][1], int(by_mean[0])


def p_value(calibration, score):
    if score < calibration.knot_score[0]:
        return 1.0
    if score >= calibration.knot_score[-1]:
        growth = (1.0 + score) / (1.0 + calibration.knot_score[-1])
        return max(calibration.knot_p[-1] * growth**-calibration.tail_index, 1e-300)
    return float(np.interp(score, calibration.knot_score, calibration.knot_p))


def explain(geometry, z, nearest, columns=3):
    """The columns that deviate most, worst first, and by how much."""
    deviation = z.copy()
    if nearest >= 0:
        prototype = geometry.cells.prototypes[geometry.cells.first[nearest // 32] + nearest % 32]
        views = geometry.views
        deviation -= prototype if views is None else views.middle + prototype[: len(z)] * views.quartile
    deviation = np.where(np.isnan(z), np.inf, deviation)
    order = np.argsort(-np.abs(deviation), kind="stable")[:columns]
    return order, deviation[order]


def raw(datatype, values):
    """Elements in the protocol's raw form."""
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(v)) + v for v in values)
    if datatype == "BF16":
        return (np.asarray(values, "<f4").view("<u4") >> 16).astype("<u2").tobytes()
    return np.asarray(values).astype(NUMPY[datatype]).tobytes()


def numbers(datatype, data):
    """What the raw bytes of a numeric datatype mean, as float64."""
    if datatype == "BF16":
        with np.errstate(invalid="ignore"):  # signalling NaNs become quiet
            return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").astype(np.float64)
    values = np.frombuffer(data, NUMPY[datatype])
    with np.errstate(invalid="ignore"):
        return (values != 0).astype(np.float64) if datatype == "BOOL" else values.astype(np.float64)


def reduced(values, blocks, with_length):
    """Mean and deviation per block of one row, then the logarithm of its length."""
    n = len(values)
    out = []
    for b in range(blocks):
        begin = b * n // blocks
        part = values[begin : max(begin + 1, (b + 1) * n // blocks)]
        out += [part.mean(), part.std()] if n else [0.0, 0.0]
    return np.array([*out, np.log1p(n)] if with_length else out)


def kernel(geometry, calibration, inputs=None, columns=()):
    """A native kernel of this geometry. columns: known words per category column, None where it is open."""
    words = [w for known in columns for w in (known or ())]
    f, views = len(geometry.mean), geometry.views
    return native_score.Kernel(
        inputs=np.array(inputs or [(native_score.VALUES, f, 0, f)], native_score.input_type()),
        mean=geometry.mean,
        scale=geometry.scale,
        low=geometry.low,
        high=geometry.high,
        views=views and (views.middle, views.quartile, views.knots, views.normals, views.metric),
        means=geometry.cells.means,
        radius=geometry.cells.radius,
        first=geometry.cells.first,
        prototypes=geometry.cells.prototypes,
        counts=geometry.cells.counts,
        weights=geometry.weights,
        knot_score=calibration.knot_score,
        knot_p=calibration.knot_p,
        tail_index=calibration.tail_index,
        text=np.frombuffer(b"".join(words), np.uint8),
        words=np.cumsum([0, *map(len, words)]).astype(np.uint64),
        column_words=np.cumsum([0, *(len(known or ()) for known in columns)]),
        is_open=np.array([known is None for known in columns], np.uint8),
    )
