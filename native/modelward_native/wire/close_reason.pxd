# Why a connection was refused or closed.

cdef enum CloseReason:
    CLOSE_NONE = 0
    # refused, before it was anything
    CLOSE_FULL                    # connections of all
    CLOSE_PEER_FULL               # connections of its peer
    CLOSE_PEER_RATE               # new connections of its peer
    CLOSE_DESCRIPTORS             # the process may open no more files
    CLOSE_REFUSED_END             # what lies above was refused, what lies below was closed
    # closed for what it did
    CLOSE_RESETS                  # streams reset before their time, by the client or for its errors
    CLOSE_PEER_RESETS             # by all connections of its peer
    CLOSE_FRAMES                  # frames that carry nothing
    CLOSE_HEADERS                 # header blocks without end
    CLOSE_PROTOCOL                # not HTTP/2
    CLOSE_STALLED                 # takes none of its answers
    CLOSE_SLOW                    # its requests do not arrive
    CLOSE_HANDSHAKE               # never spoke
    CLOSE_IDLE                    # had no stream for long
    CLOSE_ROOM                    # not busy, and another needed its place
    CLOSE_REASONS

# As metrics and logs write it.
cdef const char *close_reason_name(int reason) noexcept nogil
