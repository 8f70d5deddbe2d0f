"""One version of a model, open in ONNX Runtime."""
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, strdup

import os
from dataclasses import dataclass

import numpy as np

from native.admit cimport mw_concurrency_init, mw_waiting_free, mw_waiting_init
from native.figures cimport counters_of, figures_of, summed
from native.limit cimport make_rate
from native.model cimport *
from native.recall cimport Recall
from native.region cimport Region
from native.score cimport Kernel, mw_score_row_size, mw_score_scratch_size
from native.session cimport *
from native.tensor cimport *

cdef double INITIAL_CONCURRENCY = 100


cdef int bucket(int64_t rows) noexcept nogil:
    """ceil(log2(rows)), at most BATCH_BUCKETS - 1."""
    cdef int b = 0
    while (<int64_t>1 << b) < rows and b < BATCH_BUCKETS - 1:
        b += 1
    return b


# ---- the signature -------------------------------------------------------------------------------------------

cdef int declare_tensors(Served served, mw_declared *declared, uint32_t count, Tensor **out) except -1:
    cdef Tensor *tensors = <Tensor *>calloc(count + 1, sizeof(Tensor))
    cdef uint32_t i
    if tensors == NULL:
        raise MemoryError
    out[0] = tensors
    for i in range(count):
        tensors[i].name.data = <const uint8_t *>declared[i].name    # the session's, which lives as long
        tensors[i].name.size = len(declared[i].name)
        tensors[i].dtype = declared[i].dtype
        tensors[i].rank = declared[i].rank
        memcpy(tensors[i].shape, declared[i].shape, sizeof(tensors[i].shape))
        if declared[i].onnx_type != ORT_TYPE_TENSOR or declared[i].dtype == MW_INVALID:
            raise ValueError(f"'{declared[i].name.decode()}' is not a tensor of a datatype that the protocol has")
    return 0


cdef int declare_specs(Served served, specs, Tensor **out) except -1:
    """From (name, datatype, shape) of each."""
    cdef Tensor *tensors = <Tensor *>calloc(len(specs) + 1, sizeof(Tensor))
    cdef uint32_t i, k
    cdef bytes datatype
    if tensors == NULL:
        raise MemoryError
    out[0] = tensors
    for i, (name, text, shape) in enumerate(specs):
        datatype = text.encode()
        tensors[i].name = keep_text(served, name)
        tensors[i].dtype = mw_dtype_of(mw_span(<const uint8_t *>PyBytes_AS_STRING(datatype), len(datatype)))
        if tensors[i].dtype == MW_INVALID or len(shape) > MW_MAX_RANK:
            raise ValueError(f"'{name}' has datatype {text} and {len(shape)} dimensions, which the protocol does not")
        tensors[i].rank = <uint32_t>len(shape)
        for k in range(tensors[i].rank):
            tensors[i].shape[k] = shape[k]
    return 0


cdef bint has_batch_axis(Model *m) noexcept:
    cdef uint32_t i
    for i in range(m.input_count):
        if m.inputs[i].rank == 0 or m.inputs[i].shape[0] >= 0:
            return False
    for i in range(m.output_count):
        if m.outputs[i].rank == 0 or m.outputs[i].shape[0] >= 0:
            return False
    return m.input_count > 0


cdef bint grows_within_rows(const Model *m) noexcept:
    """A dimension other than the first is dynamic."""
    cdef uint32_t i, k
    for i in range(m.input_count):
        for k in range(1, m.inputs[i].rank):
            if m.inputs[i].shape[k] < 0:
                return True
    return False


cdef mw_span keep_text(Served served, str text) except *:
    cdef bytes data = text.encode()
    cdef mw_span s
    served.keep.append(data)
    s.data = <const uint8_t *>PyBytes_AS_STRING(data)
    s.size = len(data)
    return s


cdef extern from "ort.h":
    enum:
        ORT_TYPE_TENSOR


cdef list specs_of(const Tensor *tensors, uint32_t count):
    """(name, datatype, shape) of each; -1 for a dynamic dimension."""
    return [(tensors[i].name.data[:tensors[i].name.size].decode(), mw_dtype_name(tensors[i].dtype).decode(),
             tuple(tensors[i].shape[k] for k in range(tensors[i].rank))) for i in range(count)]


cdef void drop_rungs(Model *m) noexcept:
    cdef uint32_t i
    for i in range(m.rung_count):
        free(m.rungs[i].constants)
        free(m.rungs[i].inputs)
        free(m.rungs[i].outputs)
        free(m.rungs[i].source)
    free(m.rungs)
    m.rungs = NULL
    m.rung_count = 0


@dataclass(frozen=True)
class Remote:
    """A model that upstream servers run: (name, datatype, shape) of its inputs and outputs, and the pool of endpoints.

    optional: names of inputs that a request may leave out. Without inputs and outputs nobody has told its signature: requests
    pass undecoded.
    """

    inputs: tuple
    outputs: tuple
    pool: object
    optional: frozenset = frozenset()


cdef class Served:
    """One version of a model, open in ONNX Runtime or served by upstreams.

    model: bytes of the ONNX file, a path of it, or a Remote. threads: of one run.
    Raises ValueError with ONNX Runtime's words where it cannot be opened.
    """

    def __cinit__(self, str name, str version, object model, int threads=1):
        cdef char error[MW_ERROR_TEXT]
        cdef bytes content = model if isinstance(model, bytes) else b""
        cdef bytes path = os.fsencode(model) if isinstance(model, str) else b""
        self.keep = []
        self.name = name
        self.version = version
        self.model.served = <void *>self
        self.model.name = keep_text(self, name)
        self.model.version = keep_text(self, version)
        self.model.max_rows = 1
        self.model.counters = &self.counters
        self.model.limit.tat_ns = &self.limit_tat
        if isinstance(model, Remote):
            self.model.input_count = <uint32_t>len(model.inputs)
            self.model.output_count = <uint32_t>len(model.outputs)
            declare_specs(self, model.inputs, &self.model.inputs)
            declare_specs(self, model.outputs, &self.model.outputs)
            for i, (name, _, _) in enumerate(model.inputs):
                self.model.inputs[<uint32_t>i].optional = name in model.optional
            self.model.undecoded = not model.inputs and not model.outputs
            self.model.has_batch_axis = has_batch_axis(&self.model)
            self.keep.append(model.pool)
            self.model.pool = <void *>model.pool
            return
        cdef const char *data = <const char *>content if content else NULL
        cdef const char *file = path
        cdef size_t size = len(content)
        with nogil:
            self.session = mw_session_open(data, size, file, threads, error)
        if self.session == NULL:
            raise ValueError(error.decode("utf-8", "replace"))
        if mw_run_init(&self.run, self.session) < 0:
            raise MemoryError
        self.model.input_count = self.session.inputs
        self.model.output_count = self.session.outputs
        declare_tensors(self, self.session.input, self.session.inputs, &self.model.inputs)
        declare_tensors(self, self.session.output, self.session.outputs, &self.model.outputs)
        self.model.has_batch_axis = has_batch_axis(&self.model)
        self.place.quadratic = grows_within_rows(&self.model)

    def __dealloc__(self):
        mw_lane_free(self.lane)
        mw_run_destroy(&self.run)
        mw_session_close(self.session)
        free(self.slots)
        mw_waiting_free(&self.model.gate.waiting)
        drop_rungs(&self.model)
        free(self.model.inputs)
        free(self.model.outputs)
        free(self.model.profile_input)
        free(self.model.profile_row)
        free(self.model.profile_scratch)

    # ---- settings, before the first request

    @property
    def inputs(self) -> list:
        return specs_of(self.model.inputs, self.model.input_count)

    @property
    def outputs(self) -> list:
        return specs_of(self.model.outputs, self.model.output_count)

    @property
    def has_batch_axis(self) -> bool:
        """The first dimension of every input and output is dynamic."""
        return self.model.has_batch_axis

    @property
    def batchable(self) -> bool:
        return self.model.batchable

    def set_batching(self, bint shared, int64_t max_rows):
        """shared: rows of different requests may be one run of at most max_rows."""
        self.model.batchable = shared and self.model.has_batch_axis and max_rows > 1
        self.model.max_rows = max_rows if self.model.batchable else 1

    def set_admission(self, double floor, double ceiling, uint32_t queue):
        """So many requests at a time with the backend, adapting between floor and ceiling; `queue` may wait for their turn.

        After set_batching. ceiling 0: no gate.
        """
        cdef Gate *gate = &self.model.gate
        gate.on = ceiling > 0
        # two full runs: one under way, one gathering
        if self.model.batchable and floor < ceiling:
            floor = max(floor, min(2.0 * self.model.max_rows, ceiling))
        mw_concurrency_init(&gate.concurrency, INITIAL_CONCURRENCY, floor, ceiling)
        mw_waiting_free(&gate.waiting)
        mw_waiting_init(&gate.waiting, queue)

    def set_deadline(self, int64_t ns):
        """The model's own deadline from entry; 0 for none."""
        self.model.deadline = ns

    def set_limit(self, double per_second, int64_t burst):
        make_rate(per_second, burst, &self.model.limit.rate)

    def set_anomaly(self, Kernel kernel, list inputs, str mode, double false_positive_rate):
        """kernel scores the named inputs, in its order; mode: off, observe, tag, fallback, reject."""
        cdef Model *m = &self.model
        cdef uint32_t i
        names = [name for name, _, _ in self.inputs]
        if mode == "off":
            m.mode = MODE_OFF
            return
        m.profile_input = <uint32_t *>malloc(max(len(inputs), 1) * sizeof(uint32_t))
        m.profile_row_bytes = mw_score_row_size(&kernel.profile) * sizeof(float)
        m.profile_row = <float *>malloc(2 * m.profile_row_bytes)
        m.profile_scratch = <float *>malloc(mw_score_scratch_size(&kernel.profile) * sizeof(float))
        if m.profile_input == NULL or m.profile_row == NULL or m.profile_scratch == NULL:
            raise MemoryError
        m.profile_worst = m.profile_row + mw_score_row_size(&kernel.profile)
        for i in range(len(inputs)):
            m.profile_input[i] = names.index(inputs[i])
        m.mode = {"observe": MODE_OBSERVE, "tag": MODE_TAG, "fallback": MODE_FALLBACK, "reject": MODE_REJECT}[mode]
        m.false_positive_rate = false_positive_rate
        self.keep.append(kernel)
        m.profile = &kernel.profile

    def set_ladder(self, list rungs):
        """Each rung is a Served that answers in this one's place, a Recall of its own last answers, or a list with
        (shape, raw bytes, repeats) of each output.

        Raises ValueError where a Served cannot stand in: it must take a part of this model's inputs, and make all of its
        outputs, with the same datatypes and fitting shapes. Where a signature is not known, upstreams must run it: they get
        the request's bytes, and nothing is held against each other.
        """
        cdef Model *m = &self.model
        cdef Rung *rung
        cdef uint32_t i
        drop_rungs(m)
        m.rungs = <Rung *>calloc(max(len(rungs), 1), sizeof(Rung))
        if m.rungs == NULL:
            raise MemoryError
        for given in rungs:
            rung = &m.rungs[m.rung_count]
            m.rung_count += 1
            if isinstance(given, Recall):
                self.keep.append(given)
                rung.source = strdup(b"last_good")
                rung.recall = <void *>given
                m.recall = <void *>given
                continue
            if isinstance(given, Served):
                stand_in(self, <Served>given, rung)
                self.keep.append(given)
                rung.source = strdup(b"model:" + (<Served>given).name.encode())
                continue
            rung.source = strdup(b"value")
            rung.constants = <Constant *>calloc(m.output_count, sizeof(Constant))
            if rung.constants == NULL:
                raise MemoryError
            for i, (shape, raw, repeats) in enumerate(given):
                self.keep.append(raw)
                rung.constants[i].rank = len(shape)
                for k, size in enumerate(shape):
                    rung.constants[i].shape[k] = size
                rung.constants[i].raw.data = <const uint8_t *>PyBytes_AS_STRING(raw)
                rung.constants[i].raw.size = len(raw)
                rung.constants[i].repeats = repeats

    # ---- runs outside of any request

    def run_once(self, inputs: dict) -> dict:
        """Runs the model on numpy arrays by input name: warm-up, probes, tests.

        BYTES inputs are arrays of bytes objects. Returns arrays by output name. Raises ValueError with ONNX Runtime's
        words where the run fails, RuntimeError while a request is being run.
        """
        cdef mw_run_input *to
        cdef uint32_t i
        cdef bytes raw
        held = []
        self.run_bytes = 0
        if self.running:
            raise RuntimeError(f"{self.name} is running a request")
        for i, (name, datatype, _) in enumerate(self.inputs):
            array = np.asarray(inputs[name])
            if array.ndim != self.model.inputs[i].rank:
                raise ValueError(f"input '{name}' has {array.ndim} dimensions, not {self.model.inputs[i].rank}")
            items = [bytes(v) for v in array.ravel().tolist()] if datatype == "BYTES" else []
            raw = b"" if datatype == "BYTES" else np.ascontiguousarray(array).tobytes()
            if datatype != "BYTES" and len(raw) != array.size * mw_dtype_size(self.model.inputs[i].dtype):
                raise ValueError(f"input '{name}' is {array.dtype}, not {datatype}")
            held.append(items)
            self.run_bytes += len(raw) + sum(4 + len(item) for item in items)
            if mw_run_reserve(&self.run, i, len(raw), len(items)) < 0:
                raise MemoryError
            to = &self.run.in_[i]
            memcpy(to.data, PyBytes_AS_STRING(raw), len(raw))
            for k, item in enumerate(items):
                to.element[k].data = <const uint8_t *>PyBytes_AS_STRING(item)
                to.element[k].size = len(item)
            for k, size in enumerate(array.shape):
                to.shape[k] = size
        with nogil:
            mw_run_execute(&self.run)
        try:
            if self.run.failed:
                raise ValueError(self.run.error.decode("utf-8", "replace"))
            return {name: output_array(&self.run.out[i], datatype)
                    for i, (name, datatype, _) in enumerate(self.outputs)}
        finally:
            mw_run_release(&self.run)

    def learn_from(self):
        """Counts the last run_once as a measurement."""
        mw_placement_learn(&self.place, self.run_bytes, self.run.took_ns, False)

    def keep_off_loop(self):
        """For a model whose time depends on the values of its inputs: every run is the lane's."""
        self.place.banned = True

    def placement(self) -> str:
        """Where a run of the size of the last run_once would happen now: "loop" or "thread"."""
        return "loop" if mw_placement_predict(&self.place, self.run_bytes) <= MW_INLINE_NS else "thread"

    # ---- counters

    cdef int attach(self, Region region) except -1:
        """From now on this is what the processes of `region` know under its name: their counters add up, their limit is one."""
        cdef bytes name = self.name.encode()
        cdef Counters *counters = counters_of(region, name, self.version.encode())
        counters.profiled = self.model.profile != NULL
        self.model.counters = counters
        self.model.limit.tat_ns = <int64_t *>region.common(b"limit\0" + name, sizeof(int64_t))
        self.region = region
        return 0

    def totals(self) -> dict:
        """All counters as native.figures gives them, over all processes, and what only this one knows."""
        cdef Counters total = self.counters
        if self.region is not None:
            total = summed(self.region, self.model.counters)
        return {**figures_of(&total), "lane_runs": self.lane_runs, "terminated": self.terminated}


cdef int stand_in(Served asked, Served other, Rung *rung) except -1:
    cdef Model *a = &asked.model
    cdef Model *b = &other.model
    cdef uint32_t i
    rung.model = b
    if b.undecoded or (a.undecoded and b.pool != NULL):
        return 0
    if a.undecoded:
        raise ValueError(f"'{other.name}' runs here, and requests for '{asked.name}' pass undecoded")
    asked_inputs = {spec[0]: k for k, spec in enumerate(asked.inputs)}
    other_outputs = {spec[0]: k for k, spec in enumerate(other.outputs)}
    rung.inputs = <uint32_t *>malloc(max(b.input_count, <uint32_t>1) * sizeof(uint32_t))
    rung.outputs = <uint32_t *>malloc(a.output_count * sizeof(uint32_t))
    if rung.inputs == NULL or rung.outputs == NULL:
        raise MemoryError
    if a.has_batch_axis != b.has_batch_axis:
        raise ValueError(f"'{other.name}' and '{asked.name}' do not agree on whether the first dimension is the batch")
    for i, spec in enumerate(other.inputs):
        if spec[0] not in asked_inputs:
            raise ValueError(f"'{other.name}' takes an input '{spec[0]}', which '{asked.name}' does not")
        if b.pool == NULL and a.inputs[<uint32_t>asked_inputs[spec[0]]].optional:
            raise ValueError(f"'{other.name}' needs the input '{spec[0]}', which a request to '{asked.name}' may leave out")
        check_fits(asked.inputs[asked_inputs[spec[0]]], spec, "input")
        rung.inputs[i] = asked_inputs[spec[0]]
    for i, spec in enumerate(asked.outputs):
        if spec[0] not in other_outputs:
            raise ValueError(f"'{other.name}' makes no output '{spec[0]}', which '{asked.name}' does")
        check_fits(spec, other.outputs[other_outputs[spec[0]]], "output")
        rung.outputs[i] = other_outputs[spec[0]]
    return 0


def check_fits(wanted: tuple, given: tuple, what: str) -> None:
    """Raises ValueError unless the datatypes are equal and no two fixed dimensions differ."""
    if wanted[1] != given[1]:
        raise ValueError(f"{what} '{wanted[0]}': {given[1]} cannot stand in for {wanted[1]}")
    if len(wanted[2]) != len(given[2]) or any(w != g for w, g in zip(wanted[2], given[2]) if w >= 0 and g >= 0):
        raise ValueError(f"{what} '{wanted[0]}': shape {list(given[2])} cannot stand in for {list(wanted[2])}")


cdef object output_array(const mw_run_output *out, str datatype):
    shape = tuple(out.shape[k] for k in range(out.rank))
    if datatype == "BYTES":
        items = np.empty(out.elements, dtype=object)
        for k in range(out.elements):
            items[k] = out.text[out.offset[k]:out.offset[k + 1]]
        return items.reshape(shape)
    dtype = NUMPY[datatype]
    return np.frombuffer(out.data[:out.size] if out.size else b"", dtype=dtype).reshape(shape)


# BF16 has no numpy type: its bits
NUMPY = {"BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64, "INT8": np.int8,
         "INT16": np.int16, "INT32": np.int32, "INT64": np.int64, "FP16": np.float16, "BF16": np.uint16, "FP32": np.float32,
         "FP64": np.float64}


def load_runtime(path: str) -> str:
    """Loads libonnxruntime once per process; its release. Raises ImportError with the reason."""
    cdef const char *error = mw_ort_load(os.fsencode(path))
    if error != NULL:
        raise ImportError(f"{path}: {error.decode('utf-8', 'replace')}")
    return mw_ort_version().decode()
