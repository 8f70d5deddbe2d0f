# The structs that live for one connection, one HTTP/2 stream and one inference request, and who owns each field.
#
# Everything here is touched by the loop's thread alone, with the GIL held; only a mw_run (backend/run.h) is ever lent to
# a worker thread. Memory that is not marked borrowed belongs to the struct that points to it.
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

# They refer to what refers to them: declared before the modules that do.
cdef struct Stream
cdef struct Conn
cdef struct Wire
cdef struct Exchange

from modelward_native.backend.client cimport mw_client
from modelward_native.wire.close_reason cimport CLOSE_REASONS
from modelward_native.wire.flood cimport mw_flood
from modelward_native.timer.deadline cimport mw_timer
from modelward_native.wire.holders cimport mw_holder, mw_holders
from modelward_native.access.identity cimport Identity
from modelward_native.limits.limit cimport Payers
from modelward_native.wire.nghttp2 cimport nghttp2_session
from modelward_native.region.region cimport Gauges, Header, bytes_held
from modelward_native.request.tensor cimport MW_MAX_RANK, mw_dtype, mw_span, mw_view
from modelward_native.wire.buffer cimport Buffer, Ending
from modelward_native.wire.packed cimport Packed
from modelward_native.backend.relayed cimport Relay
from modelward_native.backend.upstream_call cimport Upcall
from modelward_native.request.model cimport Model, ShadowLink
from modelward_native.shadow.stats cimport mw_shadow_stats

cdef enum Method:
    METHOD_NONE = 0               # headers not complete yet
    METHOD_INFER
    METHOD_STREAM_INFER
    METHOD_COLD                   # a Python coroutine answers
    METHOD_RELAY                  # not known here: an upstream answers
    METHOD_REFUSED                # answered already: what still arrives is dropped

cdef struct Stream:
    Conn *conn                    # borrowed: a stream never outlives its connection
    Stream *previous
    Stream *next                  # the connection's list of open streams
    int32_t id
    uint8_t method                # enum Method
    uint8_t encoding              # enum Encoding, of the request's messages
    bint accepts_gzip
    bint prefers_gzip             # the client's list names gzip on purpose (grpc.pyx says how that is told)
    bint content_type_seen
    bint is_post
    bint timeout_malformed
    bint remote_ended             # END_STREAM has come
    bint answered                 # response headers are submitted
    bint finished                 # the ending is decided; trailers follow what is queued
    bint deferred                 # nghttp2 waits for resume_data
    bint unary                    # its request is one message, which is complete with END_STREAM and not before
    bint whole                    # that message waits in `message` for END_STREAM
    bint mirrored                 # it says that its requests are copies (modelward-shadow)
    bint compressed               # the message that is arriving is compressed
    bint gzip_reply
    uint32_t header_bytes
    uint32_t headers
    int64_t entered               # ns; when the headers were complete
    int64_t active                # ns; last byte either way
    int64_t begun                 # ns; first byte of the message that is arriving
    int64_t timeout               # ns; grpc-timeout; 0 absent
    uint8_t prefix[5]             # of the message that is arriving
    uint8_t prefix_size
    uint32_t expected             # its declared length
    uint32_t messages             # complete messages so far
    Buffer message                # the message that is arriving
    Packed *packed                # borrowed, while a message is being inflated: no more is read
    bint sending                  # in the wire's list of senders: between two pieces of that message
    Stream *staler
    Stream *fresher
    mw_holder *holder             # one user: who pays for its buffers (wire.holding); NULL until one needs memory
    Buffer out                    # framed messages on their way to the client; count as in flight
    size_t out_sent               # of out, already with nghttp2
    size_t withheld               # received bytes whose window is not opened yet (streaming back-pressure)
    Buffer held                   # received bytes that wait, unread, until the stream is no longer congested
    size_t held_at                # of held, already read
    bint held_end                 # END_STREAM came behind them
    bint resuming                 # held bytes are being read: whoever is called meanwhile must not begin again
    Buffer metadata               # headers to pass on, where wire.keep_metadata: two lengths, name, value, ...
    Ending ending
    Exchange *first               # borrowed with one reference each; answered in this order
    Exchange *last
    uint32_t inflight             # exchanges in that list
    PyObject *call                # owned reference, cold methods only: the list of headers, then the wire.call.Call
    Relay *relay                  # borrowed, while the stream is bound to an upstream's
    size_t outward                # bytes of messages that the upstream has not taken yet
    Exchange *waiting             # borrowed: its message that waits for a permit to go there; no more is read meanwhile
    uint32_t unanswered           # messages that went there and hold their permit
    uint64_t peer                 # keys of the budgets that pay: the connection's, unless a proxy or a credential says more
    uint64_t budget
    uint64_t fleet                # the same in the whole fleet: modelward_native.limits.limit.Payers
    uint32_t peer_limit           # its own, or 0: modelward_native.limits.limit.Payers
    uint64_t sticky               # hash of wire.sticky_header's value, for the choice of a version; 0 where it did not come
    Identity *caller              # borrowed with one reference; NULL until it is known, and where nobody asks
    uint32_t caller_stamp         # the caller's when it was verified
    uint32_t caller_epoch         # of a token: modelward_native.access.access.Access.epoch when its call began; else 0
    bint by_certificate           # its connection's proved it, and says until when
    int64_t caller_until          # ns; when what proved it expires, but for a certificate
    uint8_t permits               # bits of modelward_native.access.identity.Permit that its method needs
    uint8_t credentials           # headers that hold one
    uint8_t credential_state      # enum access.credentials.Credential
    bint credential_is_key
    uint64_t credential_hash[2]
    Buffer credential             # one that is not known, until it is being checked; counts as in flight
    PyObject *attempt             # borrowed: modelward_native.access.attempts.Attempt, while it is: no byte of the body is read
    Stream *next_waiting          # for the same attempt

cdef struct Conn:
    mw_timer timer                # first: its callback casts back; handshake, idle and stall checks
    nghttp2_session *session      # NULL after the connection has gone, and for one to an upstream
    mw_client *client             # owned; its counterpart for an upstream; NULL after that has gone
    Wire *wire                    # borrowed: the listener outlives its connections
    PyObject *owner               # borrowed: the modelward_native.wire.h2.Connection that owns this struct
    Stream *streams
    uint32_t open_streams
    size_t unsent                 # bytes of answers in its streams, whole until their last byte is taken: so they take memory
    size_t stuck                  # bytes of unsent that the client's windows held back when all else was written, up to a cap
    size_t promised               # bytes of answers under way: as they are predicted, then as they are
    Exchange *parked_first        # borrowed: their streams' references keep them; begun in this order when it owes less
    Exchange *parked_last
    Conn *next_dirty
    bint dirty                    # in wire.dirty: something may be written
    bint handshaken               # SETTINGS has come
    bint leaving                  # when it comes, no more streams are taken
    bint closing                  # nothing more is read or written but what the transport holds
    bint paused                   # the transport holds more than the cap: nothing more is written or read
    bint queued                   # the transport may hold bytes: writing past it would reorder
    int64_t opened
    int64_t active                # ns; last read
    int64_t stalled               # ns; since when paused
    int64_t progress              # ns; when a message last came whole, or an answer was taken whole
    mw_flood flood                # what its client has cost us
    uint8_t close_reason          # enum CloseReason: why it is being closed
    uint64_t peer                 # keys of the peer's budgets
    uint8_t address[16]           # its; IPv4 as ::ffff:a.b.c.d; zeros on a Unix socket
    uint32_t peer_limit           # its own, or 0
    uint64_t identity             # anonymous clients are known by their address
    uint64_t fleet
    bint trusted                  # a proxy whose word on addresses counts
    uint8_t told[16]              # the IPv6 peer that it told of last: the key of its budgets; blocks of headers of several
    size_t told_size              # connections may come at once, those of one may not
    uint64_t told_peer            # the hash of that key
    Identity *caller              # borrowed with one reference: of the client's certificate; NULL for none
    uint32_t caller_stamp
    int64_t caller_until          # ns; when the certificate expires
    mw_holder *holder             # one user: of the last of its streams that needed one; NULL before
    int fd

cdef extern from "forwarded.h" nogil:
    ctypedef struct mw_network:
        uint8_t address[16]
        uint8_t bits

cdef extern from "sites.h" nogil:
    enum:
        MW_SITE_WAYS
        MW_SITE_BUCKETS
    ctypedef struct mw_sites:
        uint32_t most
    mw_sites *mw_sites_new(uint32_t most)
    bint mw_sites_enter(mw_sites *sites, uint64_t network, uint64_t member, uint32_t most, int64_t now)

cdef struct Wire:                 # one listener's view of its connections; owned by modelward_native.wire.h2.Listener
    PyObject *server              # borrowed: the modelward_native.request.pipeline.Server it belongs to
    PyObject *limiter             # borrowed: the listener's modelward_native.limits.limit.Limiter
    size_t message_size           # bytes; before and after decompression
    size_t inflight_limit         # bytes of messages held over all connections, of all processes
    double share_factor           # that one peer or identity may hold, times what is free of them (wire/holders.h)
    mw_holders *holders           # owned
    Stream *stalest               # those in the middle of a message, by when a byte of it came last
    Stream *freshest
    Gauges *gauges                # borrowed, like the next: this process's, in the region
    const Header *slots           # and everybody's
    int64_t handshake_timeout     # all ns
    int64_t request_timeout
    int64_t idle_stream_timeout
    int64_t idle_connection_timeout
    int64_t stall_timeout
    uint32_t max_streams
    bint permits                  # a backend that somebody may wait for has a permit
    Conn *dirty                   # connections with something to write, flushed once per tick
    bint batch_pending            # a batch will run later in this tick and flush then
    bint draining
    bint keep_metadata            # some model is served by an upstream
    mw_span sticky_header         # borrowed from the modelward_native.request.route.Directory; empty for none
    bint keep_credentials         # and it sees the `authorization` that was checked here
    PyObject *access              # borrowed: modelward_native.access.access.Access; NULL where nobody asks who calls
    mw_network *proxies           # owned: whose x-forwarded-for counts
    uint32_t proxy_count
    mw_sites *sites               # owned: places of IPv6 peers that proxies have told; NULL where no proxy is trusted
    mw_network *limited           # owned: whose peers have limits of their own, the most specific first; numbered from 1
    uint32_t limited_count
    uint8_t peer_bits             # of an IPv6 address: they are one peer
    int64_t now                   # the tick's reading of the monotonic clock
    uint32_t connections
    uint64_t close_reasons[<int>CLOSE_REASONS]  # connections refused and closed, by why; only ever grow

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
    int references                # stream, batch, deadline node: whoever lets go last frees it
    uint8_t phase                 # enum Phase
    Model *admitted               # borrowed: the one whose gate has let it in; NULL for none
    int64_t launched              # ns; when it was last given to a backend
    int64_t ran                   # ns; its rows' part of the last run here; 0 where an upstream answers
    bint crowded                  # a request of far more rows shared that run: its time says nothing of one like this
    uint32_t waiting              # index in the queue before its model's backend; MW_NOT_WAITING
    uint8_t priority              # among its identity's own requests: 1 goes first
    uint8_t band                  # before those of others: the operator's choice alone; 1 goes first
    Upcall *call                  # borrowed, while PHASE_UPSTREAM
    Upcall *hedge                 # borrowed: a second Upcall for the same answer; the first of the two wins
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
    bint mirrored                 # it is a copy, by the word of one who may say so: nobody's shadow gets it
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
    uint8_t *wanted               # owned; indices of the outputs asked for, in order; NULL for all
    uint32_t wanteds
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


cdef inline uint64_t sticky_of(const Stream *s) noexcept:
    """What the choice of a version sticks to: hash of the header, else of the caller's name; 0: each request is one by itself."""
    return s.sticky if s.sticky or s.caller == NULL else s.caller.sticky
