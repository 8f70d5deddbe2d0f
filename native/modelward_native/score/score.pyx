"""A profile's arrays handed to the anomaly kernel (modelward_native/score/score.c), and the kernel over many rows for Python.

The data plane takes `&kernel.profile` and calls the kernel itself: no Python object per row.
"""
cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from modelward_native.score.profile cimport *
from modelward_native.request.tensor cimport MW_DTYPES, MW_MAX_TENSORS, mw_dtype, mw_dtype_name, mw_view

NOT_A_NUMBER = MW_SCORE_NOT_A_NUMBER
OUT_OF_RANGE = MW_SCORE_OUT_OF_RANGE
UNKNOWN_CATEGORY = MW_SCORE_UNKNOWN_CATEGORY
LIMIT = MW_SCORE_LIMIT
EXPLAINED = MW_SCORE_EXPLAINED
VALUES = MW_INPUT_VALUES
BLOCKS = MW_INPUT_BLOCKS
VARYING = MW_INPUT_VARYING
CATEGORIES = MW_INPUT_CATEGORIES
WORDS = MW_INPUT_WORDS
MAX_VALUES = MW_SCORE_MAX_VALUES
FIXED_BLOCKS = MW_SCORE_FIXED_BLOCKS
VARYING_BLOCKS = MW_SCORE_VARYING_BLOCKS
MAX_INPUTS = MW_MAX_TENSORS
MAX_CELLS = MW_SCORE_MAX_CELLS
MAX_PROTOTYPES = MW_SCORE_PROTOTYPES
NEIGHBOURS = MW_SCORE_NEIGHBOURS
KNOTS = MW_SCORE_KNOTS
CLIP = MW_SCORE_CLIP

# fields of numpy types, aligned as in C
INPUT = [("kind", "i4"), ("elements", "i8"), ("first", "i4"), ("width", "i4")]
COLUMN = [("first_slot", "u4"), ("mask", "u4"), ("longest", "u4"), ("open", "u1")]

cdef enum:
    CACHE_LINE = 64               # a register of AVX-512 that crosses one costs two loads
    WIDE = 128                    # dimensions beyond which fewer cells are looked at
    WIDE_PROBES = 2
FAR = 1e15                        # where padding lies; its square is still a float


class Numpy:
    """numpy, which is imported when something of it is used first: a server without profiles never does."""

    def __getattr__(self, name):
        global np
        import numpy as np
        return getattr(np, name)


np = Numpy()


def input_type():
    """numpy's type of an input of a profile."""
    return _aligned(INPUT, sizeof(mw_profile_input))


def _aligned(fields, size):
    aligned = np.dtype(fields, align=True)
    assert aligned.itemsize == size
    return aligned


def _padded(n, unit):
    return -(-n // unit) * unit


def _panels(columns, unit, fill):
    """(rows, n) as (ceil(n / unit), rows, unit), padded with `fill`."""
    rows, n = columns.shape
    wide = np.full((rows, _padded(n, unit)), fill, np.float32)
    wide[:, :n] = columns
    return wide.reshape(rows, wide.shape[1] // unit, unit).transpose(1, 0, 2)


def _check_tiling(what, inputs, total):
    """The inputs' parts of the row follow each other and fill it: the kernel writes there without looking."""
    at = 0
    width = {BLOCKS: 2 * FIXED_BLOCKS, VARYING: 2 * VARYING_BLOCKS + 1, WORDS: 1}
    for kind, elements, first, size in inputs.tolist():
        fixed = kind in (VALUES, BLOCKS, CATEGORIES)
        if first != at or size != width.get(kind, elements) or (fixed and elements < 0):
            raise ValueError(f"an input of kind {kind} with {elements} elements cannot hold {what} {first} to {first + size}")
        at += size
    if at != total:
        raise ValueError(f"the inputs hold {at} {what} instead of {total}")


def _segments(knots, normals):
    """Base, value and slope (f, k + 1, 3) of the pieces below, between and above the knots (f, k). Equal knots have none."""
    step = np.diff(knots)
    inner = np.divide(np.diff(normals), step, out=np.zeros_like(step), where=step > 0)
    ends = np.ones((len(knots), 1))
    base, value = (np.concatenate([curve[:, :1], curve], axis=1) for curve in (knots, normals))
    return np.stack([base, value, np.concatenate([ends, inner, ends], axis=1)], axis=2)


def _check_shapes(expected):
    for name, (array, shape) in expected.items():
        if np.shape(array) != shape:
            raise ValueError(f"{name} has shape {np.shape(array)} instead of {shape}")


def _results(n):
    return np.empty(n), np.empty(n), np.empty(n, np.uint32), np.empty(n, np.int32), np.empty(n, np.int32)


def use_instructions(str name):
    """Makes every kernel of this process use the instructions "best" (what the machine has, chosen at load), "plain" or
    "avx2": for tests and benchmarks, while no other thread scores. ValueError where the machine does not have them."""
    targets = {"best": MW_TARGET_BEST, "plain": MW_TARGET_PLAIN, "avx2": MW_TARGET_AVX2}
    if name not in targets or mw_score_use(targets[name]) != 0:
        raise ValueError(f"this machine has no {name!r} instructions")


cdef class Kernel:
    """Owns one profile in the kernel's layout. f features, c category columns, d dimensions, n cells, m prototypes, i inputs,
    k knots of the calibration.

    inputs: (i,) of `input_type`; mean, scale (f,) float64; low, high (f,); views: None, or middle, quartile (f,), knots, normals
    (f, KNOTS), metric (f, f) of two views (modelward.score.views); means (n, d), radius (n,), first (n + 1,), prototypes
    (m, d), counts (m,) of cells (modelward.score.cells); weights (1 .. NEIGHBOURS,); knot_score, knot_p (k,) with rising
    scores; text (bytes,) uint8, words (w + 1,) offsets into it, column_words (c + 1,) first word of each column,
    is_open (c,). Raises ValueError where shapes contradict each other; values are the caller's responsibility
    (modelward.score.store checks a file's).
    """

    def __cinit__(self, *, inputs, mean, scale, low, high, views, means, radius, first, prototypes, counts, weights,
                  knot_score, knot_p, tail_index, text, words, column_words, is_open):
        cdef mw_profile *p = &self.profile
        cdef int i
        self.memory = []
        features, knots = len(mean), len(knot_score)
        _check_shapes({"scale": (scale, (features,)), "low": (low, (features,)), "high": (high, (features,)),
                       "knot_p": (knot_p, (knots,))})
        if knots < 1:
            raise ValueError("a profile has at least one knot")
        if not 1 <= len(weights) <= NEIGHBOURS:
            raise ValueError(f"distances are measured to 1 to {NEIGHBOURS} rows, not {len(weights)}")
        if len(inputs) > MW_MAX_TENSORS:
            raise ValueError(f"a request has at most {MW_MAX_TENSORS} inputs, not {len(inputs)}")
        self.fill_columns(text, words, column_words, is_open)
        numeric = np.isin(inputs["kind"], (VALUES, BLOCKS, VARYING))
        _check_tiling("features", inputs[numeric], features)
        _check_tiling("columns", inputs[~numeric], p.columns)

        p.inputs, p.features, p.knots = len(inputs), features, knots
        p.padded_features = _padded(features, MW_SCORE_LANES)
        p.input = <const mw_profile_input *>self.keep(inputs, input_type())
        p.mean = <const double *>self.keep(mean, np.float64)
        p.inverse_scale = <const double *>self.keep(1.0 / np.asarray(scale, np.float64), np.float64)
        p.low = <const float *>self.keep(low, np.float32)
        p.high = <const float *>self.keep(high, np.float32)
        self.fill_views(views)
        self.fill_cells(means, radius, first, prototypes, counts)
        p.neighbours = len(weights)
        p.weight[0] = 0.0
        for i in range(p.neighbours):
            p.weight[i + 1] = p.weight[i] + <float>weights[i]
        p.knot_score = <const double *>self.keep(knot_score, np.float64)
        p.knot_p = <const double *>self.keep(knot_p, np.float64)
        p.tail_index = tail_index

    cdef object fill_views(self, object views):
        cdef mw_profile *p = &self.profile
        p.dimensions, p.middle = p.features, NULL
        if views is None:
            return
        middle, quartile, knots, normals, metric = views
        each, curve = (p.features,), (p.features, KNOTS)
        _check_shapes({"middle": (middle, each), "quartile": (quartile, each), "knots": (knots, curve),
                       "normals": (normals, curve), "metric": (metric, (p.features, p.features))})
        p.dimensions = 2 * p.features
        p.middle = <const float *>self.keep(middle, np.float32)
        p.inverse_quartile = <const float *>self.keep(1.0 / np.asarray(quartile, np.float64), np.float32)
        p.knot = <const float *>self.keep(knots, np.float32)
        segments = _segments(np.asarray(knots, np.float64), np.asarray(normals, np.float64))
        p.segment = <const mw_profile_segment *>self.keep(segments, np.float32)
        p.metric = <const float *>self.keep(_panels(np.asarray(metric), MW_SCORE_LANES, 0.0), np.float32)

    cdef object fill_cells(self, object means, object radius, object first, object prototypes, object counts):
        cdef mw_profile *p = &self.profile
        n, m, d = len(means), len(counts), p.dimensions
        _check_shapes({"means": (means, (n, d)), "radius": (radius, (n,)), "first": (first, (n + 1,)),
                       "prototypes": (prototypes, (m, d))})
        sizes = np.diff(np.asarray(first, np.int64))
        if not 1 <= n <= MAX_CELLS:
            raise ValueError(f"a profile has 1 to {MAX_CELLS} cells, not {n}")
        if first[0] != 0 or first[n] != m or not ((1 <= sizes) & (sizes <= MAX_PROTOTYPES)).all():
            raise ValueError("first does not divide the prototypes into cells")
        p.cells, p.padded_cells = n, _padded(n, MW_SCORE_PANEL)
        p.probes = min(n, MW_SCORE_PROBES if d <= WIDE else WIDE_PROBES)
        p.mean_of_cell = <const float *>self.keep(_panels(np.asarray(means).T, MW_SCORE_PANEL, FAR), np.float32)
        p.cell_radius = <const float *>self.keep(radius, np.float32)
        cell = np.repeat(np.arange(n), sizes)
        place = np.arange(m) - np.asarray(first)[cell]
        panels = np.full((n, d, MAX_PROTOTYPES), FAR, np.float32)
        panels[cell, :, place] = prototypes
        p.prototype = <const float *>self.keep(panels, np.float32)
        behind = np.zeros((n, MAX_PROTOTYPES), np.int32)
        behind[cell, place] = np.minimum(counts, NEIGHBOURS)
        p.count = <const int32_t *>self.keep(behind, np.int32)

    cdef const void *keep(self, object array, object dtype) except? NULL:
        """An aligned copy of the array that lives as long as the Kernel; its address."""
        source = np.ascontiguousarray(array, dtype)
        room = np.empty(source.nbytes + CACHE_LINE, np.uint8)
        offset = -room.ctypes.data % CACHE_LINE
        copy = room[offset:offset + source.nbytes]
        copy[:] = source.reshape(-1).view(np.uint8)
        self.memory.append(room)
        return <const void *><size_t>copy.ctypes.data

    @cython.wraparound(True)
    cdef object fill_columns(self, object text, object words, object column_words, object is_open):
        cdef mw_profile *p = &self.profile
        cdef uint32_t *slots
        cdef const mw_profile_column *column
        cdef uint32_t c
        word_starts = np.ascontiguousarray(words, np.uint64)
        first_words = [int(w) for w in column_words]
        if (len(is_open) + 1 != len(first_words) or first_words[0] != 0 or first_words[-1] + 1 != len(word_starts)
                or any(a > b for a, b in zip(first_words, first_words[1:]))):
            raise ValueError("column_words does not divide the words into columns")
        if word_starts[0] != 0 or word_starts[-1] != len(text) or (word_starts[1:] < word_starts[:-1]).any():
            raise ValueError("words does not divide the text into words")
        lengths = np.diff(word_starts)
        column_type = _aligned(COLUMN, sizeof(mw_profile_column))
        table = np.zeros(len(is_open), column_type)
        total = 0
        for i, (begin, end) in enumerate(zip(first_words, first_words[1:])):
            size = 2 << (end - begin).bit_length()  # at most half full, so that a probe ends soon
            table[i] = (total, size - 1, lengths[begin:end].max(initial=0), is_open[i])
            total += size
        p.columns = len(table)
        p.column = column = <const mw_profile_column *>self.keep(table, column_type)
        p.word = <const uint64_t *>self.keep(word_starts, np.uint64)
        p.text = <const uint8_t *>self.keep(text, np.uint8)
        slots = <uint32_t *>self.keep(np.zeros(total, np.uint32), np.uint32)
        p.slot = slots
        for c in range(<uint32_t>len(table)):
            mw_score_index(&column[c], slots, p.word, p.text, first_words[c], first_words[c + 1] - first_words[c])

    @property
    def features(self):
        return self.profile.features

    @property
    def columns(self):
        return self.profile.columns

    cdef int load_row(self, const double *values, const uint8_t *unknown, float *row) except -1 nogil:
        cdef int32_t c, f = self.profile.features
        mw_score_standardise(&self.profile, 0, f, values, row)
        for c in range(self.profile.columns):
            row[f + c] = unknown[c] != 0
        return 0

    def measure(self, features, unknown=None):
        """Scores rows of raw features (n, f) float64 and unknown categories (n, c) bool (none by default).

        Returns score (n,) and p-value (n,) float64, flags (n,) uint32, nearest prototype and cell (n,) int32 or -1.
        """
        cdef const double[:, ::1] x = np.ascontiguousarray(features, np.float64)
        cdef Py_ssize_t n = x.shape[0], i
        cdef int32_t f = self.profile.features, c = self.profile.columns
        if unknown is None:
            unknown = np.zeros((n, c), np.uint8)
        cdef const uint8_t[:, ::1] u = np.ascontiguousarray(unknown, np.uint8)
        if x.shape[1] != f or u.shape[1] != c or u.shape[0] != n:
            raise ValueError(f"rows have {x.shape[1]} features and {u.shape[1]} categories instead of {f} and {c}")
        out, buffers = _results(n), self.buffers()
        cdef double[::1] score = out[0], p_value = out[1]
        cdef uint32_t[::1] flags = out[2]
        cdef int32_t[::1] nearest = out[3], cell = out[4]
        cdef float[::1] row = buffers[0], scratch = buffers[1]
        cdef mw_score s
        with nogil:
            for i in range(n):
                self.load_row(&x[i, 0] if f else NULL, &u[i, 0] if c else NULL, &row[0])
                mw_score_row(&self.profile, &row[0], &scratch[0], &s)
                score[i], p_value[i], flags[i] = s.score, s.p_value, s.flags
                nearest[i], cell[i] = s.nearest, s.cell
        return out

    def measure_tensors(self, tensors, int64_t rows):
        """The same for a request's tensors in the profile's order, each (datatype, raw bytes, elements): the way of the
        data plane. ValueError where they are not `rows` rows of what the profile was fitted on."""
        cdef mw_view[MW_MAX_TENSORS] view
        cdef mw_gather gather
        cdef const uint8_t[::1] raw
        cdef int t
        cdef int64_t i
        if len(tensors) != self.profile.inputs:
            raise ValueError(f"{len(tensors)} tensors instead of {self.profile.inputs}")
        names = {mw_dtype_name(<mw_dtype>t).decode(): t for t in range(1, MW_DTYPES)}
        for i in range(len(tensors)):
            datatype, data, elements = tensors[i]
            raw = data
            view[i].raw.data = &raw[0] if raw.shape[0] else NULL
            view[i].raw.size = raw.shape[0]
            view[i].elements = elements
            t = names[datatype]
            view[i].dtype = <mw_dtype>t
        if mw_gather_begin(&gather, &self.profile, view, rows) != 0:
            raise ValueError(f"the tensors are not {rows} rows of this profile's inputs")
        out, buffers = _results(rows), self.buffers()
        cdef double[::1] score = out[0], p_value = out[1]
        cdef uint32_t[::1] flags = out[2]
        cdef int32_t[::1] nearest = out[3], cell = out[4]
        cdef float[::1] row = buffers[0], scratch = buffers[1]
        cdef mw_score s
        for i in range(rows):
            if mw_gather_row(&gather, &row[0]) != 1:
                raise ValueError(f"a BYTES element of row {i} leaves its tensor")
            mw_score_row(&self.profile, &row[0], &scratch[0], &s)
            score[i], p_value[i], flags[i] = s.score, s.p_value, s.flags
            nearest[i], cell[i] = s.nearest, s.cell
        return out

    def explain(self, features, unknown=None):
        """The columns of one row, features (f,) and unknown categories (c,), that deviate most, worst first.

        Returns column (e,) int32 (feature i, or f + i for category column i) and deviation (e,) float32 in standard
        deviations from the nearest prototype; e is EXPLAINED or the number of columns if that is less.
        """
        cdef const double[::1] x = np.ascontiguousarray(features, np.float64)
        cdef int32_t f = self.profile.features, c = self.profile.columns
        cdef const uint8_t[::1] u = np.ascontiguousarray(np.zeros(c) if unknown is None else unknown, np.uint8)
        if x.shape[0] != f or u.shape[0] != c:
            raise ValueError(f"a row has {f} features and {c} categories, not {x.shape[0]} and {u.shape[0]}")
        buffers = self.buffers()
        cdef float[::1] row = buffers[0], scratch = buffers[1]
        cdef mw_score s
        cdef int32_t[MW_SCORE_EXPLAINED] column
        cdef float[MW_SCORE_EXPLAINED] deviation
        self.load_row(&x[0] if f else NULL, &u[0] if c else NULL, &row[0])
        mw_score_row(&self.profile, &row[0], &scratch[0], &s)
        mw_score_explain(&self.profile, &row[0], &s, column, deviation)
        used = min(MW_SCORE_EXPLAINED, f + c)
        return (np.array([column[i] for i in range(used)], np.int32),
                np.array([deviation[i] for i in range(used)], np.float32))

    def p_values(self, scores):
        """p-value (n,) of scores (n,)."""
        cdef const double[::1] s = np.ascontiguousarray(scores, np.float64)
        cdef Py_ssize_t i
        out = np.empty(s.shape[0])
        cdef double[::1] p = out
        for i in range(s.shape[0]):
            p[i] = mw_score_p_value(&self.profile, s[i])
        return out

    cdef tuple buffers(self):
        """A row and a scratch: every caller its own, so that threads share nothing but the profile."""
        return (np.zeros(mw_score_row_size(&self.profile) + 1, np.float32),
                np.zeros(mw_score_scratch_size(&self.profile), np.float32))
