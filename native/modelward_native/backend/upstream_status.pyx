"""What an upstream's status says of it, and of the request."""
from libc.stdint cimport uint8_t, uint32_t
from libc.stdio cimport snprintf
from libc.stdlib cimport malloc
from libc.string cimport memcpy, strlen

from modelward_native.backend.client cimport MW_CLIENT_LOST, mw_client_stream
from modelward_native.backend.pool cimport Endpoint
from modelward_native.request.verdict cimport CODE_PERMISSION_DENIED, CODE_UNAUTHENTICATED


cdef void read_http_refusal(mw_client_stream *stream, char **message) noexcept:
    """What asks for a credential before the server may know no gRPC: its 401 or 403 becomes the status that stands for it."""
    cdef char text[64]
    if stream.grpc_status >= 0 or (stream.http_status != 401 and stream.http_status != 403):
        return
    snprintf(text, sizeof(text), "the upstream answered with HTTP status %d", stream.http_status)
    if message[0] == NULL:
        message[0] = copied(<const uint8_t *>text, strlen(text))
    stream.grpc_status = CODE_UNAUTHENTICATED if stream.http_status == 401 else CODE_PERMISSION_DENIED
    stream.http_status = 200


cdef void note_failure(Endpoint endpoint, const mw_client_stream *stream, uint32_t error, const char *message) noexcept:
    cdef char text[64]
    if stream.http_status == 200 and stream.grpc_status > 0:
        if message == NULL:
            message = ""
        endpoint.note(stream.grpc_status, message)
        return
    if error == MW_CLIENT_LOST:
        snprintf(text, sizeof(text), "its connection was lost")
    elif stream.http_status > 0 and stream.http_status != 200:
        snprintf(text, sizeof(text), "HTTP status %d", stream.http_status)
    elif error:
        snprintf(text, sizeof(text), "it reset the request, HTTP/2 error %u", error)
    else:
        snprintf(text, sizeof(text), "its answer was not one of gRPC")
    endpoint.note(-1, text)


cdef char *copied(const uint8_t *value, size_t size) noexcept:
    cdef char *text = <char *>malloc(size + 1)
    if text != NULL:
        memcpy(text, value, size)
        text[size] = 0
    return text
