"""What runs one version of a model: ONNX Runtime over its file, or a pool of upstreams."""
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

cimport cython

import logging
import os
from dataclasses import dataclass

import numpy as np

from modelward_native.backend.admit cimport mw_concurrency_init, mw_waiting_free, mw_waiting_init
from modelward_native.shadow.evidence cimport Evidence, evidence_of
from modelward_native.telemetry.figures cimport counters_of, figures_of, summed
from modelward_native.limits.limit cimport mw_cost_learn
from modelward_native.request.model cimport BATCH_BUCKETS, Counters, Empties, Gate, Tensor
from modelward_native.request.name cimport LONGEST_NAME
from modelward_native.backend.notes cimport death_note, drop_note, take_note
from modelward_native.request.answer cimport mw_answer_learn
from modelward_native.region.region cimport Region
from modelward_native.backend.session cimport *
from modelward_native.request.tensor cimport *

log = logging.getLogger("modelward.promotion")

cdef enum:
    ENVELOPE = 96                 # bytes of a small message that are not tensors: names, id, dimensions

# as in concurrency-limits; it grows by its root in every busy window of 50 ms, so that 100 is a second away
cdef double INITIAL_CONCURRENCY = 20


cdef int bucket(int64_t rows) noexcept nogil:
    """ceil(log2(rows)), at most BATCH_BUCKETS - 1."""
    cdef int b = 0
    while (<int64_t>1 << b) < rows and b < BATCH_BUCKETS - 1:
        b += 1
    return b


# ---- the signature -------------------------------------------------------------------------------------------

cdef int declare_tensors(Engine engine, mw_declared *declared, uint32_t count, Tensor **out) except -1:
    cdef Tensor *tensors = <Tensor *>calloc(count + 1, sizeof(Tensor))
    cdef uint32_t i
    if tensors == NULL:
        raise MemoryError
    out[0] = tensors
    for i in range(count):
        tensors[i].name.data = <const uint8_t *>declared[i].name    # the session's
        tensors[i].name.size = len(declared[i].name)
        tensors[i].dtype = declared[i].dtype
        tensors[i].rank = declared[i].rank
        memcpy(tensors[i].shape, declared[i].shape, sizeof(tensors[i].shape))
        if declared[i].onnx_type != ORT_TYPE_TENSOR or declared[i].dtype == MW_INVALID:
            raise ValueError(f"'{declared[i].name.decode()}' is not a tensor of a datatype that the protocol has")
    return 0


cdef int declare_specs(Engine engine, specs, Tensor **out) except -1:
    """From (name, datatype, shape) of each."""
    cdef Tensor *tensors = <Tensor *>calloc(len(specs) + 1, sizeof(Tensor))
    cdef uint32_t i, k
    cdef bytes datatype
    if tensors == NULL:
        raise MemoryError
    out[0] = tensors
    for i, (name, text, shape) in enumerate(specs):
        datatype = text.encode()
        tensors[i].name = keep_text(engine, name)
        tensors[i].dtype = mw_dtype_of(mw_span(<const uint8_t *>PyBytes_AS_STRING(datatype), len(datatype)))
        if tensors[i].dtype == MW_INVALID or len(shape) > MW_MAX_RANK:
            raise ValueError(f"'{name}' has datatype {text} and {len(shape)} dimensions, which the protocol does not")
        tensors[i].rank = <uint32_t>len(shape)
        for k in range(tensors[i].rank):
            tensors[i].shape[k] = shape[k]
    return 0


cdef bint has_batch_axis(Engine engine) noexcept:
    cdef uint32_t i
    for i in range(engine.input_count):
        if engine.input[i].rank == 0 or engine.input[i].shape[0] >= 0:
            return False
    for i in range(engine.output_count):
        if engine.output[i].rank == 0 or engine.output[i].shape[0] >= 0:
            return False
    return engine.input_count > 0


cdef bint grows_within_rows(Engine engine) noexcept:
    """A dimension other than the first is dynamic."""
    cdef uint32_t i, k
    for i in range(engine.input_count):
        for k in range(1, engine.input[i].rank):
            if engine.input[i].shape[k] < 0:
                return True
    return False


cdef mw_span keep_text(Engine engine, str text) except *:
    cdef bytes data = text.encode()
    cdef mw_span s
    engine.keep.append(data)
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


@cython.no_gc_clear               # so that the region is there until the engine has taken its note and counts out of it
cdef class Engine:
    """One version of a model, open in ONNX Runtime or run by upstreams.

    model: bytes of the ONNX file, a path of it, or a Remote. threads: of one run. Raises ValueError with ONNX Runtime's
    words where it cannot be opened.
    """

    def __cinit__(self, str name, str version, object model, int threads=1):
        cdef char error[MW_ERROR_TEXT]
        cdef bytes content = model if isinstance(model, bytes) else b""
        cdef bytes path = os.fsencode(model) if isinstance(model, str) else b""
        self.keep = []
        self.digest = ""
        self.name = name
        self.version = version
        self.counters = &self.uncounted
        self.name_span = keep_text(self, name)
        self.version_span = keep_text(self, version)
        self.max_rows = 1
        self.memory = INT64_MAX
        if self.name_span.size > LONGEST_NAME:
            raise ValueError(f"the name has {self.name_span.size} bytes, {LONGEST_NAME} are the most")
        if isinstance(model, Remote):
            self.input_count = <uint32_t>len(model.inputs)
            self.output_count = <uint32_t>len(model.outputs)
            declare_specs(self, model.inputs, &self.input)
            declare_specs(self, model.outputs, &self.output)
            for i, (name, _, _) in enumerate(model.inputs):
                self.input[<uint32_t>i].optional = name in model.optional
            self.has_batch_axis = has_batch_axis(self)
            self.empties.all = True
            self.pool = model.pool
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
        self.input_count = self.session.inputs
        self.output_count = self.session.outputs
        declare_tensors(self, self.session.input, self.session.inputs, &self.input)
        declare_tensors(self, self.session.output, self.session.outputs, &self.output)
        self.has_batch_axis = has_batch_axis(self)
        self.place.quadratic = grows_within_rows(self)

    def __dealloc__(self):
        if self.region is not None:
            self.counters.served -= 1
            self.counters.failing -= self.gate.failing
            self.leave_evidence()
        self.end()
        mw_waiting_free(&self.gate.waiting)
        free(self.empties.sets)
        free(self.contained)
        free(self.contained_dim)
        free(self.slots)
        free(self.input)
        free(self.output)

    cdef void end(self) noexcept:
        cdef mw_lane *lane = self.lane
        cdef mw_session *session = self.session
        self.lane = NULL
        self.session = NULL
        with nogil:               # an idle lane ends at once; a session gives its weights and threads back, which takes longer
            mw_lane_free(lane)
            if session != NULL:
                mw_run_destroy(&self.run)
                mw_session_close(session)
        drop_note(self.note)
        self.note = NULL

    def close(self):
        """Ends the session, from whichever thread: no request may refer to the engine, and none ever again."""
        if not self.idle:
            raise RuntimeError(f"{self.name} is running a request")
        self.end()

    @property
    def idle(self) -> bool:
        """Nothing waits, is queued or running."""
        return not (self.running or self.side_runs or self.pending or self.first != NULL or self.gate.ready
                    or self.gate.waiting.count)

    @property
    def inputs(self) -> list:
        return specs_of(self.input, self.input_count)

    @property
    def outputs(self) -> list:
        return specs_of(self.output, self.output_count)

    def set_batching(self, bint shared, int64_t max_rows):
        """shared: rows of different requests may be one run of at most max_rows."""
        self.batchable = shared and self.has_batch_axis and max_rows > 1
        self.max_rows = max_rows if self.batchable else 1

    def bear(self, sets):
        """Which open dimensions of its inputs may be 0 together: by their numbers, in the order of inputs and dimensions.

        sets: a list of sets, None for any. Until it is told, none may. To be told before its first request.
        """
        cdef Empties *empties = &self.empties
        cdef uint32_t i, k, n = 0
        for i in range(self.input_count):
            for k in range(self.input[i].rank):
                n += self.input[i].shape[k] < 0
        empties.all = sets is None
        empties.count = 0
        if sets is None:
            return
        free(empties.sets)
        empties.words = (n + 63) // 64
        empties.sets = <uint64_t *>calloc(max(len(sets) * empties.words, 1), sizeof(uint64_t))
        if empties.sets == NULL:
            raise MemoryError
        for i, together in enumerate(sets):
            for number in together:
                if not 0 <= number < n:
                    raise ValueError(f"there is no open dimension {number}")
                empties.sets[i * empties.words + number // 64] |= <uint64_t>1 << <int>(number % 64)
        empties.count = <uint32_t>len(sets)

    # ---- out of service

    @property
    def failing(self) -> bool:
        """Its canary does not pass: no request reaches it, the ladder answers in its place, or a refusal."""
        return self.gate.failing

    @failing.setter
    def failing(self, bint failing):
        self.counters.failing += <uint64_t>failing - <uint64_t>self.gate.failing    # wraps around to one less
        self.gate.failing = failing

    def contain(self, list refused, bint wholly, bint runs_alone):
        """From now on it is not run with these; wholly: with nothing. Such requests go down the ladder, or are refused.

        refused: (budget of a caller, or None for all; dimensions of all inputs one after the other, or None for any). A
        dimension of -1 is any but 0. runs_alone: requests do not share runs.
        """
        cdef Contained *kept
        cdef int64_t *dim
        cdef uint32_t i, k, dims = 0
        for i in range(self.input_count):
            dims += self.input[i].rank
        dims = min(dims, <uint32_t>MW_NOTE_DIMS)
        refused = [each for each in refused if each[1] is None or len(each[1]) == dims]
        kept = <Contained *>calloc(max(len(refused), 1), sizeof(Contained))
        dim = <int64_t *>calloc(max(len(refused) * dims, 1), sizeof(int64_t))
        if kept == NULL or dim == NULL:
            free(kept)
            free(dim)
            raise MemoryError
        for i, (caller, shape) in enumerate(refused):
            kept[i].of_caller = caller is not None
            kept[i].of_shape = shape is not None
            kept[i].caller = 0 if caller is None else <uint64_t>caller
            for k in range(dims if shape is not None else 0):
                dim[i * dims + k] = shape[k]
        free(self.contained)
        free(self.contained_dim)
        self.contained = kept
        self.contained_dim = dim
        self.contained_dims = dims
        self.contained_count = <uint32_t>len(refused)
        self.contained_wholly = wholly
        self.runs_alone = runs_alone
        self.gate.contained = wholly or len(refused) > 0

    def count_canary(self, bint passed):
        """A run of its canary."""
        self.counters.canary_runs += 1
        self.counters.canary_failures += not passed

    # ---- runs outside of any request

    def run_once(self, inputs: dict) -> dict:
        """Runs the model on numpy arrays by input name: warm-up, probes, tests.

        BYTES inputs are arrays of bytes objects. Returns arrays by output name. Raises ValueError with ONNX Runtime's
        words where the run fails, RuntimeError while a request is being run.
        """
        if self.running:
            raise RuntimeError(f"{self.name} is running a request")
        held = fill(self, &self.run, inputs, &self.run_bytes, &self.run_rows)
        self.run.budget = 0
        if self.note != NULL:
            self.note.callers = 0
            self.note.any_rows = 0
        with nogil:
            mw_run_execute(&self.run)
        del held
        try:
            answer = answer_of(self, &self.run)
            self.row_memory = max(self.row_memory, 2 * self.run.peak // max(self.run_rows, <int64_t>1))
            self.answer_bytes = ENVELOPE + output_bytes(self)
            return answer
        finally:
            mw_run_release(&self.run)

    def terminate(self):
        """Ends the run_once under way in another thread, and every later one: for an engine that will serve nothing."""
        if self.session != NULL:
            mw_run_terminate(&self.run, 1)

    def learn_from(self):
        """Counts the last run_once as a measurement."""
        mw_placement_learn(&self.place, self.run_bytes, self.run.took_ns, False)
        mw_cost_learn(&self.costs, self.run_bytes + ENVELOPE, self.run.took_ns)
        mw_answer_learn(&self.answers, self.answer_bytes, self.run_rows)

    def keep_off_loop(self):
        """For a model whose time depends on the values of its inputs: every run is the lane's."""
        self.place.banned = True

    def yield_cores(self):
        """For a shadow: every run is the lane's, and the lane gets only the time of cores that nobody else wants."""
        self.place.banned = True
        self.yields = True

    @property
    def lane_thread(self) -> int:
        """The kernel's number of the lane's thread; 0 before its first run."""
        return 0 if self.lane == NULL else mw_lane_thread(self.lane)

    def placement(self) -> str:
        """Where a run of the size of the last run_once would happen now: "loop" or "thread"."""
        return "loop" if mw_placement_predict(&self.place, self.run_bytes) <= MW_INLINE_NS else "thread"

    def totals(self) -> dict:
        """All counters as modelward_native.telemetry.figures gives them, over all processes, and what only this one knows."""
        cdef Counters total = self.uncounted
        if self.region is not None:
            total = summed(self.region, self.counters)
        return {**figures_of(&total), "lane_runs": self.lane_runs, "terminated": self.terminated}

    cdef void admit(self, double floor, double ceiling, uint32_t queue, bint across) noexcept:
        """See Served.set_admission. What the gate has learned, and who waits before it, stays."""
        cdef Gate *gate = &self.gate
        gate.on = ceiling > 0
        gate.across = across
        # two full runs: one under way, one gathering
        if self.batchable and floor < ceiling:
            floor = max(floor, min(2.0 * self.max_rows, ceiling))
        if not gate.made:
            mw_concurrency_init(&gate.concurrency, INITIAL_CONCURRENCY, floor, ceiling)
            mw_waiting_init(&gate.waiting, queue)
            gate.made = True
            return
        gate.concurrency.floor = floor
        gate.concurrency.ceiling = ceiling
        gate.concurrency.limit = min(max(gate.concurrency.limit, floor), ceiling)
        gate.waiting.capacity = max(queue, gate.waiting.count)

    cdef int attach(self, Region region) except -1:
        """From now on it counts where the processes of `region` count this version."""
        if self.region is not region:
            self.leave_evidence()
            self.counters = counters_of(region, self.name.encode(), self.version.encode())
            if self.session != NULL:
                drop_note(self.note)  # it lies in the region before, which is still there
                self.note = take_note(region, self.name, self.version, self.digest)
                self.run.note = self.note
            self.region = region
        return 0

    cdef Evidence *be_judged(self) except? NULL:
        """From now on its requests are evidence, for the promotion of a version over another."""
        if self.evidence == NULL:
            try:
                self.evidence = evidence_of(self.region, self.name.encode(), self.version.encode())
            except MemoryError as error:
                log.error("model %s version %s: a promotion cannot be judged: %s", self.name, self.version, error)
        return self.evidence

    cdef void leave_evidence(self) noexcept:
        if self.evidence != NULL:
            self.evidence.served -= 1
            self.evidence = NULL


cdef list fill(Engine engine, mw_run *run, dict inputs, uint64_t *size, int64_t *rows):
    """Numpy arrays into a run; what must live until it has ended. size: bytes of all of them."""
    cdef mw_run_input *to
    cdef const uint8_t[::1] raw
    cdef size_t nbytes
    cdef uint32_t i
    held = []
    size[0] = 0
    rows[0] = 1
    for i, (name, datatype, _) in enumerate(engine.inputs):
        array = np.asarray(inputs[name])
        if array.ndim != engine.input[i].rank:
            raise ValueError(f"input '{name}' has {array.ndim} dimensions, not {engine.input[i].rank}")
        items = [bytes(v) for v in array.ravel().tolist()] if datatype == "BYTES" else []
        nbytes = 0 if datatype == "BYTES" else array.nbytes
        if datatype != "BYTES" and nbytes != array.size * mw_dtype_size(engine.input[i].dtype):
            raise ValueError(f"input '{name}' is {array.dtype}, not {datatype}")
        held.append(items)
        size[0] += nbytes + sum(4 + len(item) for item in items)
        if mw_run_reserve(run, i, nbytes, len(items)) < 0:
            raise MemoryError
        to = &run.in_[i]
        if nbytes:
            raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            with nogil:           # megabytes must not hold the loop
                memcpy(to.data, &raw[0], nbytes)
        for k, item in enumerate(items):
            to.element[k].data = <const uint8_t *>PyBytes_AS_STRING(item)
            to.element[k].size = len(item)
        for k, length in enumerate(array.shape):
            to.shape[k] = length
        if engine.has_batch_axis:
            rows[0] = array.shape[0]
    return held


cdef dict answer_of(Engine engine, mw_run *run):
    """Arrays by output name. Raises ValueError with ONNX Runtime's words where the run has failed."""
    if run.failed:
        raise ValueError(run.error.decode("utf-8", "replace"))
    return {name: output_array(&run.out[i], datatype) for i, (name, datatype, _) in enumerate(engine.outputs)}


cdef uint64_t output_bytes(Engine engine) noexcept:
    """Of a run's outputs as an answer has them."""
    cdef mw_run_output *out
    cdef uint64_t total = 0
    cdef uint32_t i
    for i in range(engine.output_count):
        out = &engine.run.out[i]
        total += out.offset[out.elements] + 4 * out.elements if engine.output[i].dtype == MW_BYTES else out.size
    return total


cdef object output_array(const mw_run_output *out, str datatype):
    shape = tuple(out.shape[k] for k in range(out.rank))
    if datatype == "BYTES":
        items = np.empty(out.elements, dtype=object)
        for k in range(out.elements):
            items[k] = out.text[out.offset[k]:out.offset[k + 1]]
        return items.reshape(shape)
    array = np.empty(shape, NUMPY[datatype])
    cdef uint8_t[::1] to
    if out.size:
        to = array.reshape(-1).view(np.uint8)
        with nogil:
            memcpy(&to[0], out.data, out.size)
    return array


@cython.no_gc_clear               # so that the engine is there when the run is freed
cdef class SideRun:
    """Runs of an engine beside its requests', in any one thread and at any time. Until it is freed, the engine is not idle.

    canary: digest of the file and the canary that it runs, "" for other inputs. Raises RuntimeError for an engine that is
    closed, or that upstreams run.
    """

    cdef Engine engine
    cdef mw_run run               # owned

    def __cinit__(self, Engine engine not None, str canary=""):
        if engine.session == NULL:
            raise RuntimeError(f"{engine.name} is not open here")
        self.engine = engine
        engine.side_runs += 1
        if mw_run_init(&self.run, engine.session) < 0:
            raise MemoryError
        if engine.region is not None:
            self.run.note = take_note(engine.region, engine.name, engine.version, canary or engine.digest, bool(canary))

    def __dealloc__(self):
        drop_note(self.run.note)
        mw_run_destroy(&self.run)
        if self.engine is not None:
            self.engine.side_runs -= 1

    def run_once(self, inputs: dict) -> dict:
        """As Engine.run_once."""
        cdef uint64_t size
        cdef int64_t rows
        held = fill(self.engine, &self.run, inputs, &size, &rows)
        with nogil:
            mw_run_execute(&self.run)
        del held
        try:
            return answer_of(self.engine, &self.run)
        finally:
            mw_run_release(&self.run)

    def stop(self):
        """From another thread: the run under way, and every later one, ends with a ValueError before its next operator."""
        mw_run_terminate(&self.run, 1)


# BF16 has no numpy type: its bits
NUMPY = {"BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64, "INT8": np.int8,
         "INT16": np.int16, "INT32": np.int32, "INT64": np.int64, "FP16": np.float16, "BF16": np.uint16, "FP32": np.float32,
         "FP64": np.float64}


cdef Region NOTED = None          # of this process, as its signals are


def note_deaths(Region region not None):
    """From now on backend.notes.take_runs tells which run or load of this process was to blame for a signal that ended it.

    Here, since here are the sessions opened (mw_session.execute).
    """
    global NOTED
    NOTED = region
    mw_note_deaths(death_note(region))


cdef class LoadNote:
    """A context manager: what its thread does is noted as the load of a version. digest: of its file and canary."""

    cdef mw_note *note            # the region's; NULL without

    def __cinit__(self, str name not None, str version not None, str digest not None):
        self.note = take_note(NOTED, name, version, digest, True)

    def __dealloc__(self):
        drop_note(self.note)

    def __enter__(self):
        mw_note_work(self.note)

    def __exit__(self, *raised):
        mw_note_work(NULL)


def load_runtime(path: str) -> str:
    """Loads libonnxruntime once per process; its release. Raises ImportError with the reason."""
    cdef const char *error = mw_ort_load(os.fsencode(path))
    if error != NULL:
        raise ImportError(f"{path}: {error.decode('utf-8', 'replace')}")
    return mw_ort_version().decode()
