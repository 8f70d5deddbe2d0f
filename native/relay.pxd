# One stream of a client bound to one stream of an upstream. Nothing here raises.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from native.exchange cimport Buffer, Stream
from native.model cimport Counters
from native.state cimport State
from native.pool cimport Pool
from native.upstream cimport Uplink

cdef struct Relay:                # owned by its connection's list until the upstream stream closes
    Uplink link                   # first: the timer's and nghttp2's callbacks cast back; due at the call's deadline
    Relay *previous
    Relay *next
    void *upstream                # borrowed: the native.upstream.Upstream whose list it is in
    void *pool                    # borrowed from the model, or the server: a stream's later messages must be for the same
    Stream *down                  # borrowed; NULL once the client's call has its ending, or the client has gone
    Counters *counters            # borrowed: of the model that the first message was for, or of what no model is charged with
    int32_t id                    # of the upstream stream
    Buffer out                    # framed messages that the upstream has not taken; counts as in flight
    size_t out_sent               # of out, already with nghttp2
    bint deferred                 # nghttp2 waits for resume_data
    bint closing                  # the client has ended its side: END_STREAM follows what is queued
    bint closed                   # and has followed
    Buffer answer                 # the upstream's message that is arriving, with its prefix; counts as in flight
    uint32_t expected             # its declared length, once the prefix is there
    size_t withheld               # received bytes whose window is not opened yet: the client is slower than the upstream
    Buffer metadata               # of the block of headers that is arriving: two lengths, name, value, ...
    int http_status               # -1 absent, like status
    int status                    # grpc-status
    char *message                 # owned; grpc-message as it came
    char *details                 # owned; grpc-status-details-bin as it came


# Binds the stream to an upstream stream of its own; due: absolute, 0 for none. False where no endpoint can take it.
cdef bint relay_begin(
    State server, Stream *s, Pool pool, const char *path, size_t path_size, Counters *counters, int64_t due) noexcept
cdef bint relays_to(const Stream *s, const void *pool) noexcept
# Copies a message behind those that wait; False where there is no room.
cdef bint relay_send(Stream *s, const Buffer *message) noexcept
cdef void relay_half_close(Stream *s) noexcept        # the client sends no more
cdef void relay_drained(Stream *s) noexcept           # the client has taken what was queued for it
# Nobody waits for the upstream's answers any more; code: what the call is counted as.
cdef void relay_cancel(Stream *s, int code) noexcept
