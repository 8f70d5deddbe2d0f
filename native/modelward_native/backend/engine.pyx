"""What runs one version of a model: ONNX Runtime over its file, or a pool of upstreams."""
from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

cimport cython

import logging
from dataclasses import dataclass

from modelward_native.backend.admit cimport mw_concurrency_init, mw_waiting_free, mw_waiting_init
from modelward_native.backend.arrays cimport answer_of, fill, output_bytes
from modelward_native.backend.note cimport MW_NOTE_DIMS
from modelward_native.backend.plain cimport fill_plain, plain_answer_of
from modelward_native.shadow.evidence cimport Evidence, evidence_of
from modelward_native.telemetry.stats cimport counters_of, stats_of, summed
from modelward_native.limits.limit cimport mw_cost_learn
from modelward_native.request.model cimport Counters, Empties, Gate
from modelward_native.request.name cimport LONGEST_NAME
from modelward_native.request.verdict cimport REASON_CANARY, REASON_NO_VERSION, REASON_NONE
from modelward_native.backend.notes cimport drop_note, take_note
from modelward_native.backend.run cimport mw_run_destroy, mw_run_execute, mw_run_init, mw_run_release, mw_run_terminate
from modelward_native.backend.runtime cimport open_session
from modelward_native.request.answer cimport mw_answer_learn
from modelward_native.region.region cimport Region
from modelward_native.backend.session cimport mw_session, mw_session_close
from modelward_native.backend.signature cimport (
    declare_specs, declare_tensors, grows_within_rows, has_batch_axis, keep_text, specs_of)
from modelward_native.backend.worker_thread cimport mw_worker_thread, mw_worker_thread_free, mw_worker_thread_id

log = logging.getLogger("modelward.promotion")

cdef enum:
    ENVELOPE = 96                 # bytes of a small message that are not tensors: names, id, dimensions

# as in concurrency-limits; it grows by its root in every busy window of 50 ms, so that 100 is a second away
cdef double INITIAL_CONCURRENCY = 20


@dataclass(frozen=True)
class Remote:
    """A model that upstream servers run: (name, datatype, shape) of its inputs and outputs, and the pool of endpoints.

    optional: names of inputs that a request may leave out. Without inputs and outputs its signature is not known: requests
    pass undecoded. Without a pool no request is let in: it stands for a version that may not answer.
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
        self.keep = []
        self.digest = ""
        self.name = name
        self.version = version
        self.counters = &self.uncounted
        self.name_span = keep_text(self.keep, name)
        self.version_span = keep_text(self.keep, version)
        self.max_rows = 1
        self.memory = INT64_MAX
        if self.name_span.size > LONGEST_NAME:
            raise ValueError(f"the name has {self.name_span.size} bytes, {LONGEST_NAME} are the most")
        if isinstance(model, Remote):
            self.input_count = <uint32_t>len(model.inputs)
            self.output_count = <uint32_t>len(model.outputs)
            declare_specs(self.keep, model.inputs, &self.input)
            declare_specs(self.keep, model.outputs, &self.output)
            for i, (name, _, _) in enumerate(model.inputs):
                self.input[<uint32_t>i].optional = name in model.optional
            self.has_batch_axis = has_batch_axis(self.input, self.input_count, self.output, self.output_count)
            self.empties.all = True
            self.pool = model.pool
            if self.pool is None:
                self.gate.shut = REASON_NO_VERSION
            return
        self.session = open_session(model, threads)
        if mw_run_init(&self.run, self.session) < 0:
            raise MemoryError
        self.input_count = self.session.inputs
        self.output_count = self.session.outputs
        declare_tensors(self.session.input, self.session.inputs, &self.input)
        declare_tensors(self.session.output, self.session.outputs, &self.output)
        self.has_batch_axis = has_batch_axis(self.input, self.input_count, self.output, self.output_count)
        self.placement.quadratic = grows_within_rows(self.input, self.input_count)

    def __dealloc__(self):
        if self.region is not None:
            self.counters.served -= 1
            self.counters.failing -= self.gate.shut == REASON_CANARY
            self.release_evidence()
        self.end()
        mw_waiting_free(&self.gate.waiting)
        free(self.empties.sets)
        free(self.contained)
        free(self.contained_dim)
        free(self.slots)
        free(self.input)
        free(self.output)

    cdef void end(self) noexcept:
        cdef mw_worker_thread *thread = self.thread
        cdef mw_session *session = self.session
        self.thread = NULL
        self.session = NULL
        with nogil:               # an idle thread ends at once; a session gives its weights and threads back, which takes longer
            mw_worker_thread_free(thread)
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

    def allow_empty(self, sets):
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
        """Its canary does not pass: no request reaches it, the fallback chain answers in its place, or a refusal."""
        return self.gate.shut == REASON_CANARY

    @failing.setter
    def failing(self, bint failing):
        self.counters.failing += <uint64_t>failing - <uint64_t>self.failing    # wraps around to one less
        self.gate.shut = REASON_CANARY if failing else REASON_NONE

    def contain(self, list refused, bint wholly, bint runs_alone):
        """From now on it is not run with these; wholly: with nothing. Such requests go to the fallback chain, or are refused.

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
        return self._once(inputs, False)

    def run_plain(self, inputs: dict) -> dict:
        """The same without numpy: tensors are Plain (modelward_native.backend.plain)."""
        return self._once(inputs, True)

    def _once(self, dict inputs not None, bint plain) -> dict:
        if self.running:
            raise RuntimeError(f"{self.name} is running a request")
        if plain:
            held = fill_plain(self, &self.run, inputs, &self.run_bytes, &self.run_rows)
        else:
            held = fill(self, &self.run, inputs, &self.run_bytes, &self.run_rows)
        self.run.budget = 0
        if self.note != NULL:
            self.note.callers = 0
            self.note.any_rows = 0
        with nogil:
            mw_run_execute(&self.run)
        del held
        try:
            answer = plain_answer_of(self, &self.run) if plain else answer_of(self, &self.run)
            self.row_memory = max(self.row_memory, 2 * self.run.peak // max(self.run_rows, <int64_t>1))
            self.answer_bytes = ENVELOPE + output_bytes(self, &self.run)
            return answer
        finally:
            mw_run_release(&self.run)

    def terminate(self):
        """Ends the run in flight in another thread, and every later one: for an engine that will serve nothing."""
        if self.session != NULL:
            mw_run_terminate(&self.run, 1)

    def learn_from(self):
        """Counts the last of these runs as a measurement."""
        mw_placement_learn(&self.placement, self.run_bytes, self.run.took_ns, False)
        mw_cost_learn(&self.costs, self.run_bytes + ENVELOPE, self.run.took_ns)
        mw_answer_learn(&self.answers, self.answer_bytes, self.run_rows)

    def keep_off_loop(self):
        """For a model whose time depends on the values of its inputs: every run is the worker thread's."""
        self.placement.banned = True

    def run_in_background(self):
        """For a shadow: every run is its worker thread's, which gets only the time of cores that no other thread wants."""
        self.placement.banned = True
        self.background = True

    @property
    def thread_id(self) -> int:
        """The kernel's number of its worker thread; 0 before that has begun."""
        return 0 if self.thread == NULL else mw_worker_thread_id(self.thread)

    def predicted_placement(self) -> str:
        """Where a run of the size of the last of these runs would happen now: "loop" or "thread"."""
        return "loop" if mw_placement_predict(&self.placement, self.run_bytes) <= MW_INLINE_NS else "thread"

    def totals(self) -> dict:
        """All counters as modelward_native.telemetry.stats gives them, over all processes, and what only this one knows."""
        cdef Counters total = self.uncounted
        if self.region is not None:
            total = summed(self.region, self.counters)
        return {**stats_of(&total), "thread_runs": self.thread_runs, "terminated": self.terminated}

    cdef void admit(self, double floor, double ceiling, uint32_t queue, bint across) noexcept:
        """See Served.set_admission. What the gate has learned, and who waits before it, stays."""
        cdef Gate *gate = &self.gate
        gate.on = ceiling > 0
        gate.across = across
        # two full runs: one in flight, one gathering
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
            self.release_evidence()
            self.counters = counters_of(region, self.name.encode(), self.version.encode())
            if self.session != NULL:
                drop_note(self.note)  # it lies in the region before, which is still there
                self.note = take_note(region, self.name, self.version, self.digest)
                self.run.note = self.note
            self.region = region
        return 0

    cdef Evidence *collect_evidence(self) except? NULL:
        """From now on its requests are evidence, for the promotion of a version over another."""
        if self.evidence == NULL:
            try:
                self.evidence = evidence_of(self.region, self.name.encode(), self.version.encode())
            except MemoryError as error:
                log.error("model %s version %s: a promotion cannot be judged: %s", self.name, self.version, error)
        return self.evidence

    cdef void release_evidence(self) noexcept:
        if self.evidence != NULL:
            self.evidence.served -= 1
            self.evidence = NULL
