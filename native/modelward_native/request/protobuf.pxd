# Declarations of modelward_native/request/protobuf.h: the part that writes.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from "protobuf.h" nogil:
    enum:
        MW_HEADER_BYTES
    size_t mw_field_size(size_t payload)
    uint8_t *mw_put_number(uint8_t *at, uint32_t field, uint64_t v)
    uint8_t *mw_put_header(uint8_t *at, uint32_t field, size_t payload)
    uint8_t *mw_put_bytes(uint8_t *at, uint32_t field, const void *data, size_t size)
