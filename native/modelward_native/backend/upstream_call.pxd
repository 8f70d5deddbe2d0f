# One request on its way through an upstream.
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t

cdef struct UpstreamCall

from modelward_native.backend.client cimport mw_client_stream
from modelward_native.timer.deadline cimport mw_timer
from modelward_native.wire.buffer cimport Buffer, Ending
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.name cimport LONGEST_NAME, LONGEST_VERSION

cdef enum:
    SUFFIX = LONGEST_NAME + LONGEST_VERSION + 8   # of each field a tag and a length before it
    VERSION_SUFFIX = LONGEST_VERSION + 4

cdef struct UpstreamCall:         # one request on its way; owned by its stream until that closes
    mw_timer timer                # first: its callback casts back; due when the endpoint is slower than usual: a hedge
    mw_client_stream stream
    Exchange *exchange            # one reference: the body that is sent is its
    uint32_t attempt              # of the exchange; differs from the exchange's where it no longer waits for this answer
    PyObject *upstream            # borrowed: the UpstreamConnection that it is on
    PyObject *pool                # borrowed from its model, which the exchange keeps
    uint8_t prefix[5]             # of the request's message
    uint8_t suffix[SUFFIX]        # appended to it: another name than was asked for, a fallback's or a shadow's; a version
    size_t suffix_size
    size_t sent                   # of prefix, body, suffix and what asks for hidden outputs
    Buffer answer                 # DATA as it comes: prefix and message; counts as in flight
    bint too_large
    bint opened                   # the first block of its headers has come
    Buffer initial                # metadata of that block: two lengths, name, value, ...
    Ending ending                 # what its trailers say: of these, message, details and metadata
    int64_t started               # ns
    bint trial                    # of its endpoint's breaker
    bint judged                   # the endpoint has been told its outcome
    uint32_t beside               # others on its endpoint then
