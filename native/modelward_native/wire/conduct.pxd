# What connections may do before they are closed, and what a connection was refused or closed for.
from libc.stdint cimport int64_t, uint8_t

cdef extern from "conduct.h" nogil:
    enum:
        MW_FRAME_BURST
        MW_FRAME_NS
        MW_RESET_BURST
        MW_RESET_FAULT
    ctypedef struct mw_conduct:
        int64_t frames_ns
        int64_t resets_ns
    void mw_conduct_init(mw_conduct *, int64_t now_ns)
    int mw_conduct_read(mw_conduct *, const uint8_t *, size_t, int64_t now_ns)
    void mw_conduct_request(mw_conduct *, size_t block)
    void mw_conduct_message(mw_conduct *)
    void mw_conduct_sent(mw_conduct *, size_t)
    int mw_conduct_reset(mw_conduct *, int weight, int64_t now_ns)
    int64_t mw_conduct_resets(const mw_conduct *, int64_t now_ns)

cdef enum Parting:
    PARTING_NONE = 0
    # before it was anything
    PARTING_FULL                  # connections of all
    PARTING_PEER_FULL             # connections of its peer
    PARTING_PEER_RATE             # new connections of its peer
    PARTING_DESCRIPTORS           # the process may open no more files
    PARTINGS_BEFORE               # what lies above was refused, what lies below was closed
    # for what it did
    PARTING_RESETS                # streams reset before their time, by the client or for its errors
    PARTING_PEER_RESETS           # by all connections of its peer
    PARTING_FRAMES                # frames that carry nothing
    PARTING_HEADERS               # header blocks without end
    PARTING_PROTOCOL              # not HTTP/2
    PARTING_STALLED               # takes none of its answers
    PARTING_SLOW                  # its requests do not arrive
    PARTING_HANDSHAKE             # never spoke
    PARTING_IDLE                  # had no stream for long
    PARTING_ROOM                  # not busy, and another needed its place
    PARTINGS

cdef const char *parting_name(int parting) noexcept nogil
