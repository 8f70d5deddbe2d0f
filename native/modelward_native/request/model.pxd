# One version of a model under one configuration, as the data plane sees it: signature, settings, fallback chain. While
# requests refer to it, only `users` and `signature_stale` change; what changes with every request is its engine's (engine.pxd).
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef struct Model
cdef struct ShadowLink

cdef extern from "steps.h" nogil:    # detect/steps.pxd cimports what cimports this
    enum:
        MW_STEP_CAUSES

from modelward_native.backend.admit cimport mw_concurrency, mw_waiting
from modelward_native.observe.observed cimport Observed
from modelward_native.detect.policy cimport Policy
from modelward_native.detect.suspicion cimport MW_STEPS, mw_suspicion
from modelward_native.detect.watch cimport Watching
from modelward_native.shadow.evidence cimport Evidence
from modelward_native.request.exchange cimport Exchange
from modelward_native.telemetry.histogram cimport mw_histogram
from modelward_native.limits.limit cimport LIMIT_TEXT, mw_costs, mw_meter
from modelward_native.outputs.class_scores cimport mw_declared_scores
from modelward_native.outputs.guard cimport GuardedOutputs
from modelward_native.request.answer cimport mw_answers
from modelward_native.request.caller cimport CALLERS
from modelward_native.score.profile cimport mw_profile
from modelward_native.request.tensor cimport MW_MAX_RANK, mw_dtype, mw_span
from modelward_native.request.verdict cimport CODES, REASONS
from modelward_native.shadow.shadows cimport ShadowBlock
from modelward_native.wire.buffer cimport Buffer

cdef struct Tensor:               # one input or output of the signature
    mw_span name                  # owned by the Engine that owns the tensor
    mw_dtype dtype
    uint32_t rank
    int64_t shape[MW_MAX_RANK]    # -1: any
    bint optional                 # a request may leave it out; only a model of upstreams has such inputs

cdef struct Empties:              # sets of open dimensions that may be 0 together; owned by the Engine
    bint all                      # any may
    uint32_t count                # of sets
    uint32_t words                # of one set, a bit for every open dimension of all inputs in their order
    uint64_t *sets                # owned

cdef enum Mode:                   # what an anomalous request meets
    MODE_OFF = 0
    MODE_OBSERVE
    MODE_TAG
    MODE_FALLBACK
    MODE_REJECT

cdef struct LastGoodAnswer:
    uint64_t key[2]               # keyed hash of the request; 0, 0: empty
    int64_t at                    # ns
    uint8_t owner                 # part of the hash of the identity that it was for: index in LastGood.entries_of
    Buffer answer                 # owned; framed

cdef struct LastGood:             # a model's last good answers; owned by a request.last_good.LastGoodAnswers
    LastGoodAnswer *table         # owned; each request has one place, which the latest keeps, but for those of callers with fewer
    uint32_t entries_of[256]      # by owner: how many it has
    uint64_t size
    int64_t max_age               # ns
    uint64_t memory               # bytes that all answers may hold
    uint64_t held
    uint64_t kept
    uint64_t answered

cdef struct Constant:             # one output of a fallback value
    uint32_t rank
    int64_t shape[MW_MAX_RANK]
    mw_span raw                   # owned by the Served; raw form
    bint repeats                  # the first dimension is 1: repeated for every row of the request

cdef struct Fallback:
    Model *model                  # borrowed: NULL where the fallback is a value
    LastGood *last_good           # borrowed, where the fallback is the last good answer
    Constant *constants           # owned: one per output of the model asked for
    uint32_t *inputs              # owned: for each input of `model`, which input of the model asked for
    uint32_t *outputs             # owned: for each output of the model asked for, which output of `model`
    char *source                  # owned: "value", "model:NAME"

cdef struct ShadowLink:           # from one version to one of its model's shadows
    PyObject *shadow              # borrowed: modelward_native.shadow.shadow.Shadow, which the Served holds
    ShadowBlock *block            # borrowed: the region's; NULL until it is attached, or without room
    uint32_t *inputs              # owned: for each input of the shadow, which of the version's; NULL where the shadow gets bytes
    uint32_t *outputs             # owned: for each output of the version, which of the shadow's, or NO_OUTPUT; likewise

cdef enum:
    NO_OUTPUT = 0xffff

cdef enum Stage:
    STAGE_ACCESS = 0
    STAGE_LIMIT
    STAGE_DECODE
    STAGE_SCORE
    STAGE_QUEUE
    STAGE_COMPUTE
    STAGE_REPLY
    STAGES

cdef enum Outcome:                # of a request, as its time is told
    OUTCOME_OK = 0
    OUTCOME_FALLBACK              # answered by a fallback of the fallback chain
    OUTCOME_REFUSED               # before any backend had it, and not for want of time
    OUTCOME_FAILED
    OUTCOMES

cdef enum:
    BATCH_BUCKETS = 16            # powers of two of rows

cdef struct Batches:              # runs of one size class, for ModelStatistics
    uint64_t runs
    int64_t compute_ns

cdef enum Withheld:               # what a caller got in place of the model's answer, for where its rows lie
    WITHHELD_FALLBACK = 0
    WITHHELD_TOP_CLASS
    WITHHELD

# What one process has counted, in its slot of the region; no other process writes it. It only grows, also when another process
# takes the slot over; but for `profiled` and the gauges at its end. All fields are 64 bits wide: telemetry.stats adds them up.
cdef struct Counters:
    uint64_t codes[<int>CODES]
    uint64_t refusals[<int>REASONS]
    uint64_t fallbacks[<int>REASONS]
    uint64_t anomalies
    uint64_t restricted[<int>MW_STEPS]                # requests of callers at a step
    uint64_t observed[<int>MW_STEPS]                  # requests of callers that would be at a step if their model acted
    uint64_t withheld[<int>WITHHELD]                  # answers of the model that callers at no such step did not get
    uint64_t steps[<int>MW_STEPS][<int>MW_STEP_CAUSES]    # that identities came to, up or down, by cause
    uint64_t late                 # results that came after their request had been answered
    uint64_t success
    int64_t success_ns
    uint64_t fail
    int64_t fail_ns
    uint64_t queued               # requests that reached a run
    int64_t queue_ns
    int64_t input_ns              # gathering
    int64_t compute_ns
    int64_t loop_ns               # of compute_ns, on the loop
    int64_t output_ns             # writing answers
    uint64_t rows
    uint64_t runs
    int64_t predicted_ns          # of backend time, where it was charged and its request ran
    int64_t taken_ns              # by the same requests
    uint64_t partly_scored        # requests with more rows than are scored
    uint64_t unwatched            # requests whose rows are no evidence, since there was no memory for them
    uint64_t unscored             # requests that cannot be scored, though there is a profile
    uint64_t canary_runs
    uint64_t canary_failures
    mw_histogram request[<int>OUTCOMES]   # ns from the headers to the end
    mw_histogram stage[<int>STAGES]
    mw_histogram score
    Batches batches[BATCH_BUCKETS]
    int64_t last_ns               # monotonic time of the last run
    uint64_t profiled             # 1: has a profile, so that a score of nothing is one
    uint64_t pending              # gauge: in the queue
    uint64_t waiting              # gauge: before the gate
    uint64_t concurrency          # gauge: the concurrency limit
    uint64_t served               # gauge: engines that count here
    uint64_t failing              # gauge: of them, those whose canary does not pass

cdef struct Gate:                 # before a version's backend; owned by its Engine
    bint on
    int shut                      # enum Reason: why no request is let in; REASON_NONE: they are
    bint contained                # a process died of some of its requests: modelward_native.backend.contain says which
    bint made                     # what follows has been set up: later settings change it and keep what it has learned
    bint across                   # a request's priority counts before fairness between identities
    bint ready                    # in State.ready
    Gate *next_ready
    mw_concurrency concurrency
    mw_waiting waiting            # each holds one reference
    double usual[<int>CALLERS]    # ns that the backend takes for such a caller's requests, an underestimate; 0: not known

# Where a run has more than this many times the rows of a request, its time tells nothing about that request.
cdef enum:
    CROWDED = 16

cdef struct Model:                # owned by a modelward_native.request.served.Served
    uint64_t users                # exchanges and relays that began with it: it stays until they have ended
    bint signature_stale                  # a request was refused in a way that a changed model on the upstream would explain
    mw_span name                  # this and the signature: borrowed from the Engine, which the Served holds
    mw_span version
    bint names_version            # requests go up with it, since shares of an upstream's versions are decided here
    const Tensor *inputs
    const Tensor *outputs
    uint32_t input_count
    uint32_t output_count
    bint undecoded                # its signature is not known: requests are for upstreams to read, its own or a fallback's
    bint has_batch_axis           # the first dimension of every input and output is dynamic
    const Empties *empties        # the Engine's
    int64_t deadline              # ns; 0 for none
    mw_meter limit                # its cell is the region's, so that a debt outlives the configuration
    char limit_text[LIMIT_TEXT]   # for clients
    mw_costs *costs               # the Engine's
    mw_answers *answers           # the Engine's
    uint8_t mode                  # enum Mode
    bint pass_unscored            # also in modes that refuse anomalous requests
    double false_positive_rate
    const mw_profile *profile     # borrowed from a modelward_native.score.score.Kernel that the Served holds; NULL for none
    uint32_t *profile_input       # owned: for each input of the profile, which input of the model
    size_t profile_row_bytes
    float *profile_row            # owned: room for one row of features, and for the most unusual one
    float *profile_worst          # within profile_row
    float *profile_scratch        # owned
    Observed *observed            # owned; NULL: nothing is
    GuardedOutputs *guarded       # borrowed from an OutputGuards that the Served holds; NULL for none
    bint has_scores               # the next is set: an output is declared to hold class scores
    mw_declared_scores scores     # its name is borrowed from the Engine
    uint32_t scores_guarded       # which of `guarded` they are, counted from 1; 0: none
    const Policy *policies        # borrowed from a detect.policy.Policies that the Served holds
    uint32_t policy_count         # 0: no identity is watched
    mw_suspicion *suspicion       # borrowed: who is how suspicious; NULL until it is attached, or without room
    uint64_t suspect_key          # the model's part of the keys there
    Watching *watching            # borrowed from a detect.watch.Watcher that the Served holds; NULL: no evidence is gathered
    Fallback *fallbacks           # owned
    uint32_t fallback_count
    LastGood *last_good           # borrowed from a LastGoodAnswers that the Served holds; NULL for no such fallback
    ShadowLink *shadow_links      # owned
    uint32_t shadow_link_count
    Gate *gate                    # the Engine's
    Counters *counters            # as the Engine's
    Evidence *evidence            # likewise; NULL where the model has no other version, or the region no room
    PyObject *pool                # borrowed: modelward_native.backend.pool.Pool, held by the Engine; NULL for an embedded model
    PyObject *engine              # borrowed: modelward_native.backend.engine.Engine, held by the Served
