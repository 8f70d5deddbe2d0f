# The upstream side: one HTTP/2 connection to a model server, and the requests on it.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from native.deadline cimport mw_timer
from native.exchange cimport Buffer, Exchange
from native.h2 cimport Connection
from native.nghttp2 cimport nghttp2_frame
from native.pool cimport Endpoint, Pool
from native.state cimport State

cdef enum:
    SUFFIX = 136                  # a model's name is at most 128 bytes

cdef struct Uplink:               # what the user data of every upstream stream begins with
    mw_timer timer                # first: its callback casts back
    const Handlers *handlers      # static; NULL: an Upcall

cdef struct Handlers:             # who takes what an upstream stream brings, where that is no Upcall
    int (*header)(Uplink *, const uint8_t *name, size_t, const uint8_t *value, size_t) noexcept   # as nghttp2's own
    bint (*data)(Uplink *, const uint8_t *, size_t) noexcept   # False: it sees to the windows itself
    void (*frame)(Uplink *, const nghttp2_frame *) noexcept    # HEADERS and DATA, when they are complete
    void (*closed)(Uplink *, uint32_t error, bint lost) noexcept   # the last call: leaves `Upstream.links` and is freed

cdef struct Upcall:               # one request on its way; owned by its connection's list until its stream closes
    Uplink link                   # first; its timer is due when the endpoint is slower than usual: a hedge
    Exchange *exchange            # one reference: the body that is sent is its
    uint32_t attempt              # a mismatch with the exchange's: nobody waits for the answer
    void *upstream                # borrowed: the Upstream whose list it is in
    Upcall *previous
    Upcall *next
    int32_t id
    uint8_t prefix[5]             # of the request's message
    uint8_t suffix[SUFFIX]        # appended to it: the name of a rung's model, where that is not the one asked for
    size_t suffix_size
    size_t sent                   # of prefix, body and suffix
    Buffer answer                 # DATA as it comes: prefix and message; counts as in flight
    bint too_large
    int http_status
    int status                    # grpc-status; -1 absent
    char *message                 # owned; grpc-message as it came
    char *details                 # owned; grpc-status-details-bin as it came
    int64_t started               # ns

cdef class Upstream(Connection):
    cdef readonly Endpoint endpoint
    cdef bint secure              # over TLS
    cdef Upcall *calls            # owned
    cdef Uplink *links            # owned: native.relay.Relay
    cdef int64_t pinged           # ns; when the PING that is not answered yet was sent; 0 for none
    cdef int pings                # answered ones since anything else came: each doubles the pause
    cdef void leave(self) noexcept

# False where no endpoint can take the request now.
cdef bint forward(State server, Exchange *x, Pool pool, Endpoint avoid, int64_t now) noexcept
cdef bint forward_hook(void *server, Exchange *x, void *pool, int64_t now) noexcept
cdef void cancel_call(Exchange *x) noexcept

# for native.relay
cdef bint blameless(int status) noexcept
cdef char *copied(const uint8_t *value, size_t size) noexcept      # a C string that the caller owns; NULL for want of memory
cdef int small_number(const uint8_t *value, size_t size) noexcept  # at most three digits; -1
