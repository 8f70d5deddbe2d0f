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
    """score, p-value, flags, nearest of raw rows (n, f) and unknown categories (n, c)."""
    out = []
    for i, z in enumerate(standardise(geometry, rows)):
        flags = NOT_A_NUMBER * bool(np.isnan(z).any())
        flags |= OUT_OF_RANGE * bool(((z < geometry.low) | (z > geometry.high)).any())
        flags |= UNKNOWN_CATEGORY * bool(unknown is not None and np.any(unknown[i]))
        if flags:
            out.append((LIMIT, 0.0, flags, -1))
            continue
        distance, nearest = mean_distance(geometry, z.astype(np.float64))
        out.append((distance, p_value(calibration, distance), 0, nearest))
    return [np.array(column) for column in zip(*out, strict=True)]


def mean_distance(geometry, z, neighbours=3):
    metric = geometry.metric.astype(np.float64) if geometry.metric.size else np.eye(len(z))
    centers = geometry.mapped_centers.astype(np.float64)
    distances = np.sqrt(((z @ metric - centers) ** 2).sum(axis=1))
    order = np.argsort(distances, kind="stable")
    every_row = np.repeat(distances[order], np.minimum(geometry.counts[order], neighbours))
    return float(every_row[:neighbours].mean()), int(order[0])


def p_value(calibration, score):
    if score < calibration.knot_score[0]:
        return 1.0
    if score >= calibration.knot_score[-1]:
        growth = (1.0 + score) / (1.0 + calibration.knot_score[-1])
        return max(calibration.knot_p[-1] * growth**-calibration.tail_index, 1e-300)
    return float(np.interp(score, calibration.knot_score, calibration.knot_p))


def explain(geometry, z, nearest, columns=3):
    """The columns that deviate most, worst first, and by how much."""
    deviation = z - geometry.centers[nearest] if nearest >= 0 else z.copy()
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
    """A native kernel of this geometry; columns: known words per category column, None where it is open."""
    words = [w for known in columns for w in (known or ())]
    f = len(geometry.mean)
    return native_score.Kernel(
        inputs=np.array(inputs or [(native_score.VALUES, f, 0, f)], native_score.INPUT),
        mean=geometry.mean,
        scale=geometry.scale,
        low=geometry.low,
        high=geometry.high,
        metric=geometry.metric,
        centers=geometry.centers,
        mapped=geometry.mapped_centers,
        counts=geometry.counts,
        neighbours=3,
        knot_score=calibration.knot_score,
        knot_p=calibration.knot_p,
        tail_index=calibration.tail_index,
        text=np.frombuffer(b"".join(words), np.uint8),
        words=np.cumsum([0, *map(len, words)]).astype(np.uint64),
        column_words=np.cumsum([0, *(len(known or ()) for known in columns)]),
        is_open=np.array([known is None for known in columns], np.uint8),
    )
