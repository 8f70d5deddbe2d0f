"""The HTTP/2 client under the control plane's own questions to upstreams: nghttp2's session, without a socket.

Requests of clients never use it: theirs are sent by client.c. Here a question is a Python object, and few are asked.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from modelward_native.wire.nghttp2 cimport *

cdef extern from "nghttp2/nghttp2.h":
    int nghttp2_session_client_new(nghttp2_session **, nghttp2_session_callbacks *, void *)
    int32_t nghttp2_submit_request(
        nghttp2_session *, const void *, nghttp2_nv *, size_t, nghttp2_data_provider *, void *)
    enum:
        NGHTTP2_SETTINGS_ENABLE_PUSH

MOST_HEADER_BYTES = 65536         # of one answer, names and values
MOST_BYTES = 4 << 20              # of one answer's message, as grpcio takes them
LOST = -1                         # in place of an error code: the connection has ended, or never was one


class Answer:
    """headers: names and values as they came, also those after the data. error: HTTP/2's error code of the stream, 0 for
    none; LOST. is_large: it was given up, since it is larger than answers may be."""

    def __init__(self):
        self.headers = []
        self.data = bytearray()
        self.error = 0
        self.is_large = False
        self.header_bytes = 0


cdef class Session:
    """One connection. What `receive` returns is over; what `take` returns is to be sent."""

    cdef nghttp2_session *session  # owned
    cdef dict open                 # Answer by stream
    cdef dict bodies               # what is left to send of each question: bytes and how many of them have gone
    cdef list over                 # (stream, Answer)
    cdef object failed             # an exception in a callback: raised outside of nghttp2

    def __cinit__(self):
        cdef nghttp2_session_callbacks *callbacks = NULL
        cdef nghttp2_settings_entry[2] settings
        self.open, self.bodies, self.over = {}, {}, []
        if nghttp2_session_callbacks_new(&callbacks) != 0:
            raise MemoryError
        nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header)
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_chunk)
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close)
        made = nghttp2_session_client_new(&self.session, callbacks, <void *>self)
        nghttp2_session_callbacks_del(callbacks)
        if made != 0:
            raise MemoryError
        settings[0] = nghttp2_settings_entry(NGHTTP2_SETTINGS_ENABLE_PUSH, 0)
        settings[1] = nghttp2_settings_entry(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, <uint32_t>MOST_HEADER_BYTES)
        if nghttp2_submit_settings(self.session, NGHTTP2_FLAG_NONE, settings, 2) != 0:
            raise MemoryError

    def __dealloc__(self):
        nghttp2_session_del(self.session)

    @property
    def is_usable(self) -> bool:
        """Neither side has ended it, and there are numbers left for streams."""
        return nghttp2_session_check_request_allowed(self.session) != 0

    @property
    def is_over(self) -> bool:
        """It was ended, as after an error of the server, and there is nothing left to send or to receive."""
        return not nghttp2_session_want_read(self.session) and not nghttp2_session_want_write(self.session)

    def ask(self, list headers not None, bytes body not None) -> int:
        """A question; its stream. headers: names and values, bytes. Raises ValueError."""
        cdef nghttp2_nv *fields = <nghttp2_nv *>malloc(max(len(headers), 1) * sizeof(nghttp2_nv))
        cdef nghttp2_data_provider provider
        cdef int32_t stream
        cdef size_t i
        if fields == NULL:
            raise MemoryError
        try:
            for i, (name, value) in enumerate(headers):
                fields[i].name, fields[i].namelen = <uint8_t *>PyBytes_AS_STRING(name), len(name)
                fields[i].value, fields[i].valuelen = <uint8_t *>PyBytes_AS_STRING(value), len(value)
                fields[i].flags = NGHTTP2_FLAG_NONE
            provider.source.ptr = NULL
            provider.read_callback = read_body
            stream = nghttp2_submit_request(self.session, NULL, fields, len(headers), &provider, NULL)
        finally:
            free(fields)
        if stream < 0:
            raise ValueError(f"the question cannot be asked: {stream}")
        self.open[stream] = Answer()
        self.bodies[stream] = [body, 0]
        return stream

    def cancel(self, int32_t stream) -> None:
        """Nobody waits for it any more."""
        if self.open.pop(stream, None) is not None:
            nghttp2_submit_rst_stream(self.session, NGHTTP2_FLAG_NONE, stream, NGHTTP2_CANCEL)

    def receive(self, bytes data not None) -> list[tuple[int, Answer]]:
        """Takes what has come; the answers that are over, by stream. Raises ValueError where it is no HTTP/2."""
        taken = nghttp2_session_mem_recv(self.session, <const uint8_t *>PyBytes_AS_STRING(data), len(data))
        if self.failed is not None:
            raise self.failed
        if taken < 0:
            raise ValueError(f"the server does not speak HTTP/2: {taken}")
        over, self.over = self.over, []
        return over

    def take(self) -> bytes:
        """All that is to be sent now."""
        cdef const uint8_t *piece = NULL
        pieces = []
        while True:
            size = nghttp2_session_mem_send(self.session, &piece)
            if self.failed is not None:
                raise self.failed
            if size < 0:
                raise ValueError(f"nothing can be sent: {size}")
            if size == 0:
                return b"".join(pieces)
            pieces.append(PyBytes_FromStringAndSize(<const char *>piece, size))


cdef extern from "nghttp2/nghttp2.h":
    void nghttp2_session_callbacks_del(nghttp2_session_callbacks *)
    int nghttp2_session_check_request_allowed(nghttp2_session *)


cdef int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
                   const uint8_t *value, size_t value_size, uint8_t flags, void *user_data) noexcept:
    cdef Session self = <Session>user_data
    try:
        answer = self.open.get(frame.hd.stream_id)
        if answer is not None:
            answer.header_bytes += name_size + value_size
            if answer.header_bytes > MOST_HEADER_BYTES:
                give_up(self, frame.hd.stream_id, answer)
            else:
                answer.headers.append((name[:name_size], value[:value_size]))
    except BaseException as error:
        self.failed = error
        return NGHTTP2_ERR_CALLBACK_FAILURE
    return 0


cdef int on_chunk(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t size,
                  void *user_data) noexcept:
    cdef Session self = <Session>user_data
    try:
        answer = self.open.get(stream)
        if answer is not None:
            if len(answer.data) + size > MOST_BYTES:
                give_up(self, stream, answer)
            else:
                answer.data += data[:size]
    except BaseException as error:
        self.failed = error
        return NGHTTP2_ERR_CALLBACK_FAILURE
    return 0


cdef int on_close(nghttp2_session *session, int32_t stream, uint32_t code, void *user_data) noexcept:
    cdef Session self = <Session>user_data
    try:
        self.bodies.pop(stream, None)
        answer = self.open.pop(stream, None)
        if answer is not None:
            answer.error = code
            self.over.append((stream, answer))
    except BaseException as error:
        self.failed = error
        return NGHTTP2_ERR_CALLBACK_FAILURE
    return 0


cdef ssize_t read_body(nghttp2_session *session, int32_t stream, uint8_t *to, size_t room, uint32_t *flags,
                       nghttp2_data_source *source, void *user_data) noexcept:
    cdef Session self = <Session>user_data
    cdef size_t size, gone
    try:
        left = self.bodies[stream]
        gone = left[1]
        size = min(room, len(left[0]) - gone)
        memcpy(to, PyBytes_AS_STRING(left[0]) + gone, size)
        left[1] = gone + size
        if left[1] == len(left[0]):
            flags[0] |= NGHTTP2_DATA_FLAG_EOF
        return size
    except BaseException as error:
        self.failed = error
        return NGHTTP2_ERR_CALLBACK_FAILURE


cdef int give_up(Session self, int32_t stream, object answer) except -1:
    answer.is_large = True
    self.over.append((stream, self.open.pop(stream)))
    nghttp2_submit_rst_stream(self.session, NGHTTP2_FLAG_NONE, stream, NGHTTP2_CANCEL)
    return 0
