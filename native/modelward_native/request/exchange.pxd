# The structs that live for one inference request, and who owns each field. wire/types.pxd has those of a connection.
#
# Everything here is touched by the loop's thread alone, with the GIL held; only a mw_run (backend/run.h) is ever lent to
# a worker thread. Memory that is not marked borrowed belongs to the struct that points to it.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

# It refers to what refers to it: declared before the modules that do.
cdef struct Exchange

from modelward_native.timer.deadline cimport mw_timer
from modelward_native.limits.limit cimport Payers
from modelward_native.request.tensor cimport MW_MAX_RANK, mw_dtype, mw_span, mw_view
from modelward_native.wire.buffer cimport Buffer, Ending
from modelward_native.wire.types cimport Conn, Stream, Wire
from modelward_native.backend.upstream_call cimport UpstreamCall
from modelward_native.detect.kernel cimport mw_watched
from modelward_native.detect.policy cimport Policy
from modelward_native.detect.suspicion cimport mw_suspect
from modelward_native.request.model cimport Model, ShadowLink
from modelward_native.shadow.stats cimport mw_shadow_stats

cdef enum Phase:
    PHASE_NEW = 0
    PHASE_PACKED                  # its message is being inflated
    PHASE_PARKED                  # until its connection has taken answers
    PHASE_WAITING                 # for its backend to have a place
    PHASE_QUEUED                  # in its model's queue
    PHASE_RUNNING                 # in a batch
    PHASE_UPSTREAM                # on its way through an upstream
    PHASE_DONE                    # answered; a result that comes later is dropped and counted

cdef enum:
    INLINE_TENSORS = 4
    INLINE_DIMENSIONS = 16

cdef enum Opaque:                 # of what it asks for, what cannot be read here
    OPAQUE_ANSWER = 1             # outputs are not what the signature says: classes, or in shared memory
    OPAQUE_SHARED = 2             # memory that the upstream shares with the client; its inputs have no bytes

cdef struct Exchange:
    mw_timer deadline             # first: the timer's callback casts back
    Stream *stream                # borrowed; NULL once the client has let go
    Wire *wire                    # borrowed: outlives every exchange
    Exchange *next_in_stream
    Exchange *previous_queued
    Exchange *next_queued         # the queue of its model, or its connection's parked
    size_t promised               # bytes of its answer, in the connection's count of them
    uint32_t attempt              # counts the runs it was given to: an older run's result is late
    bint alone                    # the batch it was in has failed: it runs by itself to tell whose fault that was
    Model *asked                  # that the client asked for; counted in its users (request.model.ask)
    Model *model                  # borrowed: the one that answers, `asked` or a fallback of its fallback chain
    int references                # of the stream, the batch, the deadline timer; the last one frees it
    uint8_t phase                 # enum Phase
    Model *admitted               # borrowed: the one whose gate has let it in; NULL for none
    int64_t launched              # ns; when it was last given to a backend
    int64_t ran                   # ns; its rows' part of the last run here; 0 where an upstream answers
    bint crowded                  # a request of far more rows shared that run: its time says nothing of one like this
    uint32_t waiting              # index in the queue before its model's backend; MW_NOT_WAITING
    uint8_t priority              # among its identity's own requests: 1 goes first
    uint8_t band                  # before those of others: the operator's choice alone; 1 goes first
    UpstreamCall *call            # borrowed, while PHASE_UPSTREAM
    UpstreamCall *hedge           # borrowed: a second one for the same answer; the first of the two wins
    uint8_t retries               # upstream endpoints tried again
    bint sequence                 # one of several requests that a stateful model takes in order: asked once
    uint8_t tried                 # fallbacks of the chain that have been tried
    uint8_t fallback_reason       # enum Reason of the fallback under way; 0 none
    bint streaming                # answers go as ModelStreamInferResponse
    bint named                    # its version was asked for by name
    bint unknown_version          # a version was asked for that is not served: `asked` is another one
    bint decoded                  # it has passed `decode`: its tensors are known, or its model is not decoded
    uint32_t number               # of its model's name, for access; or access.identity NOT_SERVED, NOT_READ
    double usual                  # ns that the quickest version usually takes for its caller; 0: not known
    uint8_t assigned              # enum shadow.evidence.Assigned: whether its outcome says something of its version
    bint hurried                  # its client gives the model less time than it usually takes
    bint flagged
    bint empty                    # an input has no elements
    uint8_t opaque                # enum Opaque; only where an upstream answers
    bint faulty                   # its answer was not as the guards of its outputs say
    bint mirrored                 # a caller that may say so marked it as a copy: no shadow gets it
    const Policy *policy          # borrowed from `asked`: of its caller; NULL: it is not watched
    mw_suspect *suspect           # borrowed from the region: its caller's record when the message came; another key's since,maybe
    uint8_t step                  # mw_step (detect/suspicion.h): what its caller gets, as it was when the message came
    uint8_t would                 # mw_step that its caller would get if its model acted, where it observes
    uint64_t *held                # its place among answers that are held back (detect/held.h); NULL: none
    uint8_t first_label           # the answer of a crowd of near duplicates, which its one row gets too: that label + 1; 0: none
    uint32_t watched_count        # rows that were looked at and not judged yet
    int64_t watched_step          # one of so many: chosen_rows.h, with the seed
    uint64_t rows_seed            # 0: its rows are so few that all are looked at
    mw_watched watched            # the first
    mw_watched *watched_rows      # owned; all of them, where there are several
    bint reply_ready              # waits for its turn in a stream
    double score
    Payers payers                 # of what it costs; the model's meter is borrowed
    int64_t predicted             # ns of its backend's time
    int64_t inflating             # ns that its message took to inflate: part of what it costs
    double share                  # the same by the weight of who pays: what counts between those who wait for a backend
    bint unsettled                # it was charged with that, and what it takes may be another
    bint stamped                  # the same before the gate that let it in
    int64_t entered               # ns
    int64_t due                   # ns; absolute; 0 for none
    int64_t client_due            # ns; the client's own, less a margin; 0 for none
    int64_t queued_at             # ns
    int64_t rows                  # first dimension of every input; 1 where the model has no batch axis
    Buffer body                   # the message: views and id point into it
    Buffer converted              # typed contents in raw form: views may point into it
    mw_span id                    # the client's request id
    mw_view *view                 # inputs of the model asked for, in its order: inline_view, or owned
    int64_t *dims                 # their dimensions, one input after the other: inline_dims, or owned
    mw_view inline_view[INLINE_TENSORS]
    int64_t inline_dims[INLINE_DIMENSIONS]
    uint8_t *wanted               # owned; NULL for all: indices of the outputs that are made
    uint32_t wanteds
    uint32_t shown                # the first so many, which the client asks for; the others are hidden (request/hidden_outputs)
    uint32_t asking               # bytes by which its last call of an upstream asks for more outputs than the client names
    Buffer reply                  # framed answer, while it waits for its turn; counts as in flight
    Ending ending
    Buffer initial                # an upstream's metadata that comes before its answer: two lengths, name, value, ...
    # what a shadow is asked: stream is NULL, and reply the primary's message, empty where it failed
    Exchange *mirrors             # one reference: the client's own, which body and all spans here are of; else NULL
    Exchange *previous_mirror     # with next_in_stream, the server's list of them
    ShadowLink *shadow_link       # borrowed: of the version that `mirrors` asked for; NULL: shadow.crosscheck
    mw_shadow_stats *slice        # borrowed: of its caller
    uint64_t *count               # borrowed: what a crosscheck counts in
    int64_t took                  # ns that the primary took


# Pooled; zeroed but for what the pool keeps. NULL for want of memory. One reference, the caller's.
cdef Exchange *exchange_new(Wire *wire) noexcept
cdef void exchange_unref(Exchange *x) noexcept
# It has taken so much of its backend's time, or will not take any more: budgets that count time are charged with that in
# place of what was predicted, and so is its identity's flow before the gate. Later calls do nothing; one whose last holder lets
# go before has never run.
cdef void settle(Exchange *x, int64_t took_ns) noexcept
