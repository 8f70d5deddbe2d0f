# One stream of a client bound to one stream of an upstream. Nothing here raises.
from libc.stdint cimport int64_t, uint32_t, uint64_t

from modelward_native.backend.client cimport mw_client_stream
from modelward_native.timer.deadline cimport mw_timer
from modelward_native.request.exchange cimport Buffer, Exchange, Stream
from modelward_native.wire.holders cimport mw_holder
from modelward_native.request.model cimport Counters, Model
from modelward_native.request.state cimport State
from modelward_native.backend.pool cimport Pool

cdef struct Sent:                 # a message that went up; owned by its relay's list (modelward_native.backend.unanswered)
    mw_timer timer                # first: its callback casts back; when it gives its permit back unanswered
    Relay *relay                  # borrowed
    Sent *previous
    Sent *next                    # in the order in which they went
    Exchange *exchange            # one reference, with its permit; NULL once that is back
    uint64_t id                   # hash of the id that its answers may name; 0 for none
    size_t size                   # bytes of the message
    int64_t at                    # ns; when it went
    int64_t heard                 # ns; when its last answer so far came; 0 before the first
    uint32_t beside               # others that its endpoint had to answer then

cdef struct Relay:                # owned by its upstream stream until that closes
    mw_timer timer                # first: its callback casts back; due at the call's deadline
    mw_client_stream stream
    void *upstream                # borrowed: the modelward_native.backend.upstream.Upstream that it is on
    void *pool                    # borrowed from the model, or the server: a stream's later messages must be for the same
    mw_holder *holder             # borrowed from the wire, as one of its users: has one relay more until this one is freed
    Stream *down                  # borrowed; NULL once the client's call has its ending, or the client has gone
    Model *model                  # that the first message was for, counted in its users; NULL where no model is charged
    Counters *counters            # borrowed: the model's, or the server's for what no model is charged with
    Buffer out                    # framed messages that the upstream has not taken; counts as in flight
    size_t out_sent               # of out, already on its way
    Sent *sent_first              # owned, RELAYED_DEPTH at most; empty once `down` is NULL
    Sent *sent_last
    uint32_t sent_count
    uint64_t messages             # that ever went up
    uint64_t answers              # that do not say whether they are the last
    bint trial                    # of the endpoint's breaker
    uint32_t caller               # part of the callers (modelward_native.shadow.evidence)
    bint judged                   # the endpoint has been told the outcome
    bint closing                  # the client has ended its side: END_STREAM follows what is queued
    Buffer answer                 # the upstream's message that is arriving, with its prefix; counts as in flight
    uint32_t expected             # its declared length, once the prefix is there
    size_t withheld               # received bytes whose window is not opened yet: the client is slower than the upstream
    Buffer metadata               # of the block of headers that is arriving: two lengths, name, value, ...
    char *message                 # owned; grpc-message as it came
    char *details                 # owned; grpc-status-details-bin as it came


# Binds the stream to an upstream stream of its own; due: absolute, 0 for none. The reason where that is refused: no endpoint
# can take it, or the caller has its share of the endpoint's streams.
cdef int relay_begin(
    State server, Stream *s, Pool pool, const char *path, size_t path_size, Model *model, int64_t due) noexcept
cdef bint relays_to(const Stream *s, const void *pool) noexcept
# Copies a message behind those that wait; False where there is no room.
cdef bint relay_send(Stream *s, const Buffer *message) noexcept
# The same for a model's message, which holds a permit until it is answered: REASON_NONE, or why not.
cdef int relay_request(Exchange *x, int64_t now) noexcept
cdef void relay_half_close(Stream *s) noexcept        # the client sends no more
cdef void relay_drained(Stream *s) noexcept           # the client has taken what was queued for it
# Nobody waits for the upstream's answers any more; code: what the call is counted as.
cdef void relay_cancel(Stream *s, int code) noexcept
