"""One version of a model under one configuration: an engine, and the settings that requests meet."""
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, strdup

cimport cython

import logging

from modelward_native.backend.engine cimport Engine
from modelward_native.observe.writer cimport free_observed, new_observed
from modelward_native.detect.policy cimport Policies
from modelward_native.detect.suspicion cimport Suspicion
from modelward_native.detect.watch cimport watcher_of
from modelward_native.limits.limit cimport CELL, LIMIT_TEXT, Limit, make_limit, mw_cell
from modelward_native.outputs.guards cimport OutputGuards
from modelward_native.request.model cimport *
from modelward_native.score.profile cimport mw_score_row_size, mw_score_scratch_size
from modelward_native.request.last_good cimport LastGoodAnswers
from modelward_native.request.name cimport LONGEST_VERSION
from modelward_native.request.tensor cimport mw_span
from modelward_native.region.region cimport Region
from modelward_native.score.score cimport Kernel
from modelward_native.shadow.shadows cimport ShadowBlock, shadow_block

log = logging.getLogger("modelward.shadow")
watch_log = logging.getLogger("modelward.detect")


cdef void drop_fallbacks(Model *m) noexcept:
    cdef uint32_t i
    for i in range(m.fallback_count):
        free(m.fallbacks[i].constants)
        free(m.fallbacks[i].inputs)
        free(m.fallbacks[i].outputs)
        free(m.fallbacks[i].source)
    free(m.fallbacks)
    m.fallbacks = NULL
    m.fallback_count = 0


cdef void leave_blocks(Model *m) noexcept:
    cdef uint32_t i
    for i in range(m.shadow_link_count):
        if m.shadow_links[i].block != NULL:
            m.shadow_links[i].block.served -= 1
            m.shadow_links[i].block = NULL


cdef void drop_shadow_links(Model *m) noexcept:
    cdef uint32_t i
    leave_blocks(m)
    for i in range(m.shadow_link_count):
        free(m.shadow_links[i].inputs)
        free(m.shadow_links[i].outputs)
    free(m.shadow_links)


cdef void find_guarded_scores(Model *m) noexcept:
    """Called when either is set."""
    cdef mw_span name, scores = m.scores.output.name
    cdef uint32_t i
    m.scores_guarded = 0
    if m.guarded == NULL or not m.has_scores:
        return
    for i in range(m.guarded.count):
        name = m.guarded.declared[i].name
        if name.size == scores.size and memcmp(name.data, scores.data, name.size) == 0:
            m.scores_guarded = i + 1


@cython.no_gc_clear               # so that the region is there when its blocks are left
cdef class Served:
    """One version of a model with its settings. Each reload makes another, over an engine that may stay.

    Settings are made before the first request and never changed after it.
    """

    def __cinit__(self, Engine engine):
        cdef Model *m = &self.model
        self.engine = engine
        self.fallbacks = []
        self.shadows = []
        self.keep = []
        self.memory = engine.memory
        m.name = engine.name_span
        m.version = engine.version_span
        m.inputs = engine.input
        m.outputs = engine.output
        m.input_count = engine.input_count
        m.output_count = engine.output_count
        m.undecoded = engine.session == NULL and not m.input_count and not m.output_count
        m.has_batch_axis = engine.has_batch_axis
        m.empties = &engine.empties
        m.gate = &engine.gate
        m.costs = &engine.costs
        m.answers = &engine.answers
        m.counters = engine.counters
        m.limit.tat_ns = &self.limit_tat
        m.pool = NULL if engine.pool is None else <PyObject *>engine.pool
        m.engine = <PyObject *>engine

    def __dealloc__(self):
        drop_fallbacks(&self.model)
        drop_shadow_links(&self.model)
        free_observed(self.model.observed)
        free(self.model.profile_input)
        free(self.model.profile_row)
        free(self.model.profile_scratch)

    @property
    def name(self) -> str:
        return self.engine.name

    @property
    def version(self) -> str:
        return self.engine.version

    @property
    def users(self) -> int:
        """Requests and streams that began with it and have not ended."""
        return self.model.users

    def take_signature_stale(self) -> bool:
        """Whether, since the last call, a request was refused in a way that a changed model on the upstream would explain."""
        cdef bint stale = self.model.signature_stale
        self.model.signature_stale = False
        return stale

    def set_admission(self, double floor, double ceiling, uint32_t queue, bint across=False):
        """Limits the requests with the backend to a number that adapts between floor and ceiling; `queue` more may wait.

        across: the priority that a request asks for counts before fairness between identities.

        ceiling 0: no gate. It counts from when it is served: the gate is the engine's, which others may use until then.
        """
        self.floor = floor
        self.ceiling = ceiling
        self.queue = queue
        self.across = across

    def set_deadline(self, int64_t ns):
        """The model's own deadline from entry; 0 for none."""
        self.model.deadline = ns

    def set_run_memory(self, int64_t most):
        """Bytes that a run may hold at once beside its inputs. It counts from when it is served."""
        self.memory = most

    def name_version(self):
        """Upstreams are asked for this version by name, where the client named none. ValueError: no request can name it."""
        if not 0 < self.model.version.size <= <size_t>LONGEST_VERSION:
            raise ValueError(f"no request can name a version of {self.model.version.size} bytes")
        self.model.names_version = self.model.pool != NULL

    def set_limit(self, double rate, int64_t burst, bint timed=False):
        """Of all requests for the model; as Limiter.set_peer."""
        cdef Limit limit
        make_limit(&limit, rate, burst, timed)
        self.model.limit.rate = limit.rate
        memcpy(self.model.limit_text, limit.text, LIMIT_TEXT)

    def set_anomaly(self, Kernel kernel, list inputs, str mode, double false_positive_rate, bint pass_unscored=False):
        """kernel scores the named inputs, in its order; mode: off, observe, tag, fallback, reject. pass_unscored: in the
        last two, requests that cannot be scored are not taken for anomalous."""
        cdef Model *m = &self.model
        cdef uint32_t i
        names = [name for name, _, _ in self.engine.inputs]
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
        m.pass_unscored = pass_unscored
        self.keep.append(kernel)
        m.profile = &kernel.profile

    def set_observed(self, double share, bytes description not None, bint tensors, uint32_t most):
        """This share of its requests is observed; after set_anomaly. description: JSON that goes with them. tensors: inputs are
        kept as they came. most: bytes of a request's inputs that are kept, and of its answer."""
        free_observed(self.model.observed)
        self.model.observed = new_observed(&self.model, share, description, tensors, most)
        self.keep.append(description)

    def set_class_scores(self, uint32_t output, bint logits):
        """The output, by its number, holds the scores of classes: floating-point numbers, of at most two dimensions."""
        cdef Model *m = &self.model
        if output >= m.output_count:
            raise ValueError(f"there is no output {output}")
        m.scores.output.name = m.outputs[output].name
        m.scores.output.dtype = m.outputs[output].dtype
        m.scores.logits = logits
        m.scores.batch = m.has_batch_axis
        m.has_scores = True
        find_guarded_scores(m)

    def set_detection(self, Policies policies not None):
        """What becomes of suspected identities."""
        self.keep.append(policies)
        self.model.policies = policies.policy
        self.model.policy_count = policies.count

    def set_output_guards(self, OutputGuards guards not None):
        """Of the same engine's outputs."""
        cdef Model *m = &self.model
        self.guards = guards
        m.guarded = &guards.guarded
        find_guarded_scores(m)

    def set_fallbacks(self, list fallbacks):
        """Each fallback is a Served that answers in this one's place, the LastGoodAnswers of its own engine, or a list with
        (shape, raw bytes, repeats) of each output.

        Raises ValueError where a Served cannot stand in: it must take a part of this model's inputs, and make all of its
        outputs, with the same datatypes and fitting shapes. Where a signature is not known, upstreams must run it: they get
        the request's bytes, and nothing is held against each other.
        """
        cdef Model *m = &self.model
        cdef Fallback *fallback
        cdef LastGoodAnswers last_good
        cdef Served other
        cdef uint32_t i
        drop_fallbacks(m)
        self.fallbacks = []
        m.fallbacks = <Fallback *>calloc(max(len(fallbacks), 1), sizeof(Fallback))
        if m.fallbacks == NULL:
            raise MemoryError
        for given in fallbacks:
            fallback = &m.fallbacks[m.fallback_count]
            m.fallback_count += 1
            if isinstance(given, LastGoodAnswers):
                self.keep.append(given)
                fallback.source = strdup(b"last_good")
                last_good = given
                fallback.last_good = m.last_good = &last_good.answers
                continue
            if isinstance(given, Served):
                other = given
                stand_in(self, other, fallback)
                self.fallbacks.append(other)
                fallback.source = strdup(b"model:" + other.name.encode())
                continue
            fallback.source = strdup(b"value")
            fallback.constants = <Constant *>calloc(m.output_count, sizeof(Constant))
            if fallback.constants == NULL:
                raise MemoryError
            for i, (shape, raw, repeats) in enumerate(given):
                self.keep.append(raw)
                fallback.constants[i].rank = len(shape)
                for k, size in enumerate(shape):
                    fallback.constants[i].shape[k] = size
                fallback.constants[i].raw.data = <const uint8_t *>PyBytes_AS_STRING(raw)
                fallback.constants[i].raw.size = len(raw)
                fallback.constants[i].repeats = repeats

    cdef int watch(self, Suspicion suspicion) except -1:
        """suspicion: where its identities are remembered; None: nowhere."""
        cdef Model *m = &self.model
        self.suspicion = suspicion
        m.suspicion = NULL if suspicion is None else &suspicion.table
        m.suspect_key = 0 if suspicion is None else suspicion.model_number(self.name.encode())
        if suspicion is None or m.policy_count == 0 or m.profile == NULL:
            self.watcher = None
        elif self.watcher is None or self.watcher.region is not suspicion.region:
            try:
                self.watcher = watcher_of(suspicion.region, self.name, m.profile)
            except MemoryError as error:
                self.watcher = None
                watch_log.error("model %s version %s: no evidence against identities is gathered: %s", self.name, self.version,
                                error)
        m.watching = NULL if self.watcher is None else &self.watcher.watching
        return 0

    cdef int attach(self, Region region, bint shared, Suspicion suspicion=None) except -1:
        """From now on this is what the processes of `region` know under its name: their counters add up, their limit is one.

        shared: with other servers, too.
        """
        cdef mw_cell *cell
        cdef uint32_t i
        if self.region is not region:
            leave_blocks(&self.model)
            self.region = region
        self.engine.attach(region)
        self.engine.memory = self.memory
        self.engine.admit(self.floor, self.ceiling, self.queue, self.across)
        self.model.counters = self.engine.counters
        self.model.counters.profiled = self.model.profile != NULL
        self.watch(suspicion)
        if self.model.limit.rate.interval_ns:
            try:
                cell = <mw_cell *>region.common(CELL + self.name.encode(), sizeof(mw_cell))
                self.model.limit.tat_ns = &cell.tat_ns
                self.model.limit.account = &cell.account if shared else NULL
            except MemoryError:
                pass              # one name too many: its limit holds in each process by itself
        if self.guards is not None:
            self.guards.attach(region, self.name.encode())
        for i, (shadow, content) in enumerate(self.shadows):
            if self.model.shadow_links[i].block == NULL:
                self.model.shadow_links[i].block = block_of(region, self, shadow.name, content + shadow.fingerprint)
        return 0


cdef ShadowBlock *block_of(Region region, Served served, str shadow, bytes fingerprint) except? NULL:
    """Where the pairs of a version and a shadow are counted; NULL where there is no room, and then nothing is mirrored."""
    try:
        return shadow_block(
            region, served.name.encode(), served.version.encode(), shadow.encode(), fingerprint)
    except MemoryError as error:
        log.error("model %s version %s: nothing is mirrored to its shadow %s: %s", served.name, served.version, shadow, error)
        return NULL


cdef int stand_in(Served asked, Served other, Fallback *fallback) except -1:
    cdef Model *a = &asked.model
    cdef Model *b = &other.model
    cdef uint32_t i
    fallback.model = b
    if b.undecoded or (a.undecoded and b.pool != NULL):
        return 0
    if a.undecoded:
        raise ValueError(f"'{other.name}' runs here, and requests for '{asked.name}' pass undecoded")
    asked_inputs = {spec[0]: k for k, spec in enumerate(asked.engine.inputs)}
    other_outputs = {spec[0]: k for k, spec in enumerate(other.engine.outputs)}
    fallback.inputs = <uint32_t *>malloc(max(b.input_count, <uint32_t>1) * sizeof(uint32_t))
    fallback.outputs = <uint32_t *>malloc(a.output_count * sizeof(uint32_t))
    if fallback.inputs == NULL or fallback.outputs == NULL:
        raise MemoryError
    if a.has_batch_axis != b.has_batch_axis:
        raise ValueError(f"'{other.name}' and '{asked.name}' do not agree on whether the first dimension is the batch")
    for i, spec in enumerate(other.engine.inputs):
        if spec[0] not in asked_inputs:
            raise ValueError(f"'{other.name}' takes an input '{spec[0]}', which '{asked.name}' does not")
        if b.pool == NULL and a.inputs[<uint32_t>asked_inputs[spec[0]]].optional:
            raise ValueError(f"'{other.name}' needs the input '{spec[0]}', which a request to '{asked.name}' may leave out")
        check_fits(asked.engine.inputs[asked_inputs[spec[0]]], spec, "input")
        fallback.inputs[i] = asked_inputs[spec[0]]
    for i, spec in enumerate(asked.engine.outputs):
        if spec[0] not in other_outputs:
            raise ValueError(f"'{other.name}' makes no output '{spec[0]}', which '{asked.name}' does")
        check_fits(spec, other.engine.outputs[other_outputs[spec[0]]], "output")
        fallback.outputs[i] = other_outputs[spec[0]]
    return 0


cdef int check_fits(tuple wanted, tuple given, str what) except -1:
    """Raises ValueError unless the datatypes are equal and no two fixed dimensions differ."""
    if wanted[1] != given[1]:
        raise ValueError(f"{what} '{wanted[0]}': {given[1]} cannot stand in for {wanted[1]}")
    differ = [1 for w, g in zip(wanted[2], given[2]) if w >= 0 and g >= 0 and w != g]
    if len(wanted[2]) != len(given[2]) or differ:
        raise ValueError(f"{what} '{wanted[0]}': shape {list(given[2])} cannot stand in for {list(wanted[2])}")
