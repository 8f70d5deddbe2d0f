# One stream of a client bound to one stream of an upstream. Nothing here raises.
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t

from modelward_native.backend.client cimport mw_client_stream
from modelward_native.backend.relayed cimport Relay
from modelward_native.wire.buffer cimport Buffer, Ending
from modelward_native.request.exchange cimport Exchange
from modelward_native.wire.types cimport Stream
from modelward_native.request.model cimport Model
from modelward_native.request.state cimport State
from modelward_native.backend.pool cimport Pool

# Binds the stream to an upstream stream of its own; due: absolute, 0 for none. The reason where that is refused: no endpoint
# can take it, or the caller has its share of the endpoint's streams.
cdef int relay_begin(
    State server, Stream *s, Pool pool, const char *path, size_t path_size, Model *model, int64_t due) noexcept
cdef bint relays_to(const Stream *s, const PyObject *pool) noexcept
# Copies a message, and what is appended to it, behind those that wait; False where there is no room.
cdef bint relay_send(Stream *s, const Buffer *message, const uint8_t *suffix, size_t suffix_size) noexcept
# The same for a model's message, which holds a permit until it is answered: REASON_NONE, or why not.
cdef int relay_request(Exchange *x, int64_t now) noexcept
cdef void relay_half_close(Stream *s) noexcept        # the client sends no more
# The client no longer waits for the upstream's answers. code: the status that the call is counted with.
cdef void relay_cancel(Stream *s, int code) noexcept

# for relay_answers. The client's call ends with this, behind the answers that it has still to take; takes the ending.
cdef void conclude(Relay *r, Ending *ending) noexcept
cdef void give_up(Relay *r, int code, int reason, const char *text) noexcept  # a status of our own in place of the upstream's
cdef void reset_upstream(Relay *r) noexcept


cdef inline Relay *relay_of(const mw_client_stream *stream) noexcept:
    """Of an upstream stream that relay_begin has opened."""
    return <Relay *>stream.owner
