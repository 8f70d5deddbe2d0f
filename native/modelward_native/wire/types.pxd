# The structs that live for one connection and one HTTP/2 stream, and who owns each field. request/exchange.pxd has those of one
# inference request.
#
# Everything here is touched by the loop's thread alone, with the GIL held. Memory that is not marked borrowed belongs to the
# struct that points to it.
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

# They refer to what refers to them: declared before the modules that do.
cdef struct Transport
cdef struct Conn
cdef struct Stream
cdef struct Wire

from modelward_native.access.identity cimport Identity
from modelward_native.backend.relayed cimport Relay
from modelward_native.region.region cimport Gauges, Header
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.tensor cimport mw_span
from modelward_native.timer.deadline cimport mw_timer
from modelward_native.wire.buffer cimport Buffer, Ending
from modelward_native.wire.close_reason cimport CLOSE_REASONS
from modelward_native.wire.flood cimport mw_flood
from modelward_native.wire.holders cimport mw_holder, mw_holders
from modelward_native.wire.nghttp2 cimport nghttp2_session
from modelward_native.wire.packed cimport Packed
from modelward_native.wire.sites cimport mw_network, mw_sites

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
    bint resuming                 # held bytes are being read: code called meanwhile must not begin again
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
    uint64_t shared_key           # the same in all servers that share limits: modelward_native.limits.limit.Payers
    uint32_t peer_limit           # its own, or 0: modelward_native.limits.limit.Payers
    bint traced                   # it came with a traceparent, where wire.keep_trace
    uint8_t trace[24]             # its trace id and parent id
    uint64_t sticky               # hash of wire.sticky_header's value, for the choice of a version; 0 where it did not come
    Identity *caller              # borrowed with one reference; NULL until it is known, and without access control
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

cdef struct Transport:            # what every connection has: bytes to and from a socket, by way of asyncio
    mw_timer timer                # first: its callback casts back; what it is for, each kind of connection says
    # Writes what the connection has to send: wire.session.flush_session and backend.connection.flush_client.
    void (*flush)(Transport *) noexcept
    Wire *wire                    # borrowed: the listener outlives its connections
    PyObject *owner               # borrowed: the modelward_native.wire.transport.Protocol that this belongs to
    PyObject *asyncio             # borrowed from that: asyncio's transport; NULL before there is one, and once it has gone
    Transport *next_dirty
    bint dirty                    # in wire.dirty: something may be written
    bint handshaken               # the peer's SETTINGS have come
    bint closing                  # nothing more is read or written but what asyncio's transport holds
    bint paused                   # that holds more than the cap: nothing more is written or, from clients, read
    bint queued                   # it may hold bytes: writing past it would reorder
    int64_t opened                # ns
    int64_t active                # ns; last read
    int64_t stalled               # ns; since when paused
    int fd                        # -1 where bytes go through asyncio alone

cdef struct Traffic:              # what one process has had from clients, in its slot of the region; it only grows
    uint64_t received             # bytes
    uint64_t inflated             # bytes that messages have become
    uint64_t useful               # of both together: in messages that were answered, or went up a relayed stream
    uint64_t opened               # connections
    uint64_t settled              # of them, those that had a request answered, or are counted under why they were closed

cdef struct Conn:                 # a client's connection
    Transport transport           # first: its callbacks cast back. Its timer: handshake, idle and stall checks
    Wire *wire                    # borrowed: the transport's
    nghttp2_session *session      # owned; NULL before there is one, and once the connection has gone
    Stream *streams
    uint32_t open_streams
    size_t unsent                 # bytes of answers in its streams, whole until their last byte is taken: so they take memory
    size_t stuck                  # bytes of unsent that the client's windows held back when all else was written, up to a cap
    size_t promised               # bytes of answers under way: as they are predicted, then as they are
    Exchange *parked_first        # borrowed: their streams' references keep them; begun in this order when it owes less
    Exchange *parked_last
    bint leaving                  # when its SETTINGS come, no more streams are taken
    bint settled                  # it is counted in traffic.settled
    int64_t progress              # ns; when a message last came whole, or an answer was taken whole
    mw_flood flood                # what its client has cost us
    uint8_t close_reason          # enum CloseReason: why it is being closed
    uint64_t peer                 # keys of the peer's budgets
    uint8_t address[16]           # its; IPv4 as ::ffff:a.b.c.d; zeros on a Unix socket
    uint32_t peer_limit           # its own, or 0
    uint64_t identity             # anonymous clients are known by their address
    uint64_t shared_key
    bint trusted                  # a proxy whose word on addresses counts
    uint8_t told[16]              # the IPv6 peer that it told of last: the key of its budgets; blocks of headers of several
    size_t told_size              # connections may come at once, those of one may not
    uint64_t told_peer            # the hash of that key
    Identity *caller              # borrowed with one reference: of the client's certificate; NULL for none
    uint32_t caller_stamp
    int64_t caller_until          # ns; when the certificate expires
    mw_holder *holder             # one user: of the last of its streams that needed one; NULL before

cdef struct Wire:                 # what the connections of one listener share; owned by modelward_native.wire.listener.Listener
    PyObject *server              # borrowed: the modelward_native.request.server.Server it belongs to
    PyObject *limiter             # borrowed, as the next two: the listener's modelward_native.limits.limit.Limiter
    PyObject *wheel               # its modelward_native.timer.deadline.Wheel
    PyObject *read_view           # a memoryview of what is read into: filled and consumed within one callback
    uint8_t *read_buffer          # owned; the same
    uint8_t *write_buffer         # owned; used likewise
    size_t message_size           # bytes; before and after decompression
    size_t inflight_limit         # bytes of messages held over all connections, of all processes
    double share_factor           # that one peer or identity may hold, times what is free of them (wire/holders.h)
    mw_holders *holders           # owned
    Stream *stalest               # those in the middle of a message, by when a byte of it came last
    Stream *freshest
    Gauges *gauges                # borrowed, like the next: this process's, in the region
    const Header *slots           # and everybody's
    Traffic *traffic              # borrowed: this process's, in the region
    int64_t handshake_timeout     # all ns
    int64_t request_timeout
    int64_t idle_stream_timeout
    int64_t idle_connection_timeout
    int64_t stall_timeout
    uint32_t max_streams
    bint permits                  # a backend that a request may wait for has a permit
    Transport *dirty              # those of connections with something to write, flushed once per tick
    bint batch_pending            # a batch will run later in this tick and flush then
    bint draining
    bint keep_metadata            # some model is served by an upstream
    bint keep_trace               # requests are logged (telemetry.access_log)
    mw_span sticky_header         # borrowed from the modelward_native.request.route.Directory; empty for none
    bint keep_credentials         # and it sees the `authorization` that was checked here
    PyObject *access              # borrowed: modelward_native.access.access.Access; NULL without access control
    mw_network *proxies           # owned: whose x-forwarded-for counts
    uint32_t proxy_count
    mw_sites *sites               # owned: places of IPv6 peers that proxies have told; NULL where no proxy is trusted
    mw_network *limited           # owned: whose peers have limits of their own, the most specific first; numbered from 1
    uint32_t limited_count
    uint8_t peer_bits             # of an IPv6 address: they are one peer
    int64_t now                   # the tick's reading of the monotonic clock
    uint32_t connections
    uint64_t close_reasons[<int>CLOSE_REASONS]  # connections refused and closed, by why; only ever grow
