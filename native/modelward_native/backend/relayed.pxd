# A client's stream that is bound to a stream of an upstream, and the messages that went up.
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef struct Relay
cdef struct Sent

from modelward_native.backend.client cimport mw_client_stream
from modelward_native.timer.deadline cimport mw_timer
from modelward_native.wire.buffer cimport Buffer
from modelward_native.request.exchange cimport Exchange
from modelward_native.wire.types cimport Stream
from modelward_native.wire.holders cimport mw_holder
from modelward_native.request.model cimport Counters, Model

cdef struct Sent:                 # a message that went up; owned by its relay's list (modelward_native.backend.unanswered)
    mw_timer timer                # first: its callback casts back; when it gives its permit back unanswered
    Relay *relay                  # borrowed
    Sent *previous
    Sent *next                    # in the order in which they went
    Exchange *exchange            # one reference, with its permit; NULL once that is back
    uint64_t id                   # hash of the id that its answers may name; 0 for none
    size_t size                   # bytes of the message
    int64_t at                    # ns; when it went
    int64_t last_answer                 # ns; when its last answer so far came; 0 before the first
    uint32_t beside               # others that its endpoint had to answer then

cdef struct Relay:                # owned by its upstream stream until that closes
    mw_timer timer                # first: its callback casts back; due at the call's deadline
    mw_client_stream stream
    PyObject *upstream            # borrowed: the modelward_native.backend.connection.UpstreamConnection that it is on
    PyObject *pool                # owned reference, since a reload may take the server's: modelward_native.backend.pool.Pool,
    #                               which the stream's later messages must be for too
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
    uint8_t step                  # mw_step that its caller was at when the last message went up: its answers are softened
    Buffer answer                 # the upstream's message that is arriving, with its prefix; counts as in flight
    uint32_t expected             # its declared length, once the prefix is there
    size_t withheld               # received bytes whose window is not opened yet: the client is slower than the upstream
    Buffer metadata               # of the block of headers that is arriving: two lengths, name, value, ...
    char *message                 # owned; grpc-message as it came
    char *details                 # owned; grpc-status-details-bin as it came
