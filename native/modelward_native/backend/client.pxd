# Declarations of modelward_native/backend/client.h.
from libc.stdint cimport int32_t, uint8_t, uint32_t

cdef extern from "client.h" nogil:
    enum:
        MW_CLIENT_DEFERRED
    const uint32_t MW_CLIENT_LOST
    ctypedef struct mw_client:
        bint goaway
        uint32_t max_streams      # that the peer allows
    ctypedef struct mw_client_stream
    ctypedef struct mw_client_calls:
        ssize_t (*read)(mw_client_stream *, uint8_t *to, size_t room, bint *end) noexcept
        int (*field)(mw_client_stream *, const uint8_t *name, size_t, const uint8_t *value, size_t) noexcept
        void (*data)(mw_client_stream *, const uint8_t *, size_t) noexcept
        void (*frame)(mw_client_stream *, bint headers, bint end) noexcept
        void (*closed)(mw_client_stream *, uint32_t error) noexcept
    ctypedef struct mw_client_hooks:
        void (*settings)(void *) noexcept
        void (*ping_answered)(void *) noexcept
        void (*goaway)(void *) noexcept
    ctypedef struct mw_client_stream:
        const mw_client_calls *calls
        void *owner
        int http_status
        int grpc_status
        bint local_ended
        bint remote_ended


cdef extern from "client.h":      # with the GIL: they call back
    mw_client *mw_client_new(const mw_client_hooks *, void *context, const char *authority, size_t authority_size, bint secure,
                             uint32_t stream_window, uint32_t window)
    void mw_client_lose(mw_client *)
    void mw_client_free(mw_client *)
    int mw_client_submit(mw_client *, mw_client_stream *, const char *path, size_t path_size, const uint8_t *fields, size_t size)
    void mw_client_resume(mw_client *, mw_client_stream *)
    void mw_client_reset(mw_client *, mw_client_stream *, uint32_t error)
    void mw_client_consume(mw_client *, mw_client_stream *, size_t size)
    void mw_client_ping(mw_client *)
    int mw_client_receive(mw_client *, const uint8_t *data, size_t size)
    size_t mw_client_write(mw_client *, uint8_t *to, size_t room)
    bint mw_client_busy(const mw_client *)
    mw_client_stream *mw_client_next(const mw_client *, const mw_client_stream *)
    bint mw_client_done(const mw_client *)
