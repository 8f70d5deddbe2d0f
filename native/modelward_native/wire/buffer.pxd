# Bytes that are owned and counted, and how a stream ends.
from libc.stdint cimport int64_t, uint8_t, uint32_t

from modelward_native.wire.holders cimport mw_holder

cdef struct Buffer:
    uint8_t *data                 # owned by the struct that holds the Buffer; moved, never shared
    size_t size
    size_t capacity
    mw_holder *holder             # borrowed: whose the memory is, where it counts as in flight; moves with the data

cdef struct Ending:               # how a stream ends: the trailers
    int code                      # gRPC status
    char *message                 # owned; NULL for none; percent-encoded
    char *details                 # owned; NULL for none; base64 of google.rpc.Status
    int64_t pushback_ms           # grpc-retry-pushback-ms: 0 absent, -1 do not retry
    const char *fallback          # static: reason text; NULL when the model itself answered
    const char *restricted        # static: the step that its caller is told of; NULL for none
    uint32_t guards               # bits of the guards of outputs that the client is told of (outputs/guard_names.h)
    double anomaly_score
    bint has_anomaly_score
    Buffer metadata               # more fields, an upstream's: two lengths, name, value, ...
