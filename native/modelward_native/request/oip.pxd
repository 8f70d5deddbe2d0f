# Declarations of modelward_native/request/oip.h, which says what each means.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from modelward_native.request.tensor cimport mw_dtype, mw_span

cdef extern from "oip.h" nogil:
    enum:
        MW_CONTENTS_KINDS

    ctypedef enum mw_scan_status:
        MW_SCAN_OK
        MW_SCAN_MALFORMED
        MW_SCAN_TOO_MANY_INPUTS
        MW_SCAN_TOO_MANY_OUTPUTS
        MW_SCAN_RANK

    ctypedef struct mw_scan_input:
        mw_span name
        mw_span datatype
        int64_t *shape
        uint32_t rank
        uint8_t shared_memory
        uint16_t contents_kinds
        uint8_t has_contents
        uint64_t *contents_count
        uint64_t contents_bytes

    ctypedef struct mw_scan_output:
        mw_span name
        uint8_t shared_memory
        uint8_t classification

    ctypedef struct mw_scan:
        mw_span model_name
        mw_span model_version
        mw_span id
        uint32_t inputs
        uint32_t outputs
        uint32_t raws
        mw_scan_input *input
        mw_scan_output *output
        mw_span *raw
        int64_t timeout_us
        uint64_t priority
        uint8_t timeout_invalid
        uint8_t priority_invalid
        uint8_t sequence
        uint8_t shares

    ctypedef struct mw_stream_answer:
        mw_span id
        int final

    void mw_oip_stream_answer(mw_span message, mw_stream_answer *out)
    int mw_oip_stream_response(mw_span message, mw_span *response)
    mw_scan_status mw_oip_scan(mw_span message, mw_scan *out)
    int mw_oip_scan_envelope(mw_span message, mw_scan *out)
    int mw_oip_first_names(mw_span piece, mw_span *name, mw_span *version)
    int mw_oip_names(mw_span message, mw_span *name, mw_span *version)
    int mw_oip_contents_kind(mw_dtype dtype)
    size_t mw_oip_contents_size(const mw_scan_input *tensor, mw_dtype dtype)
    int mw_oip_contents(const mw_scan_input *tensor, mw_dtype dtype, uint8_t *to, size_t size)
    int mw_oip_bytes_valid(mw_span raw, int64_t elements)
    int64_t mw_oip_elements(const int64_t *shape, uint32_t rank)

    ctypedef struct mw_reply_output:
        mw_span name
        mw_dtype dtype
        uint32_t rank
        const int64_t *shape
        int64_t rows
        mw_span raw

    ctypedef struct mw_reply:
        mw_span model_name
        mw_span model_version
        mw_span id
        mw_span fallback
        mw_span fallback_source
        mw_span restricted
        double anomaly_score
        uint8_t has_anomaly_score
        uint8_t anomaly
        uint8_t has_anomaly
        uint8_t final_response
        uint32_t outputs
        const mw_reply_output *output

    size_t mw_oip_reply_size(const mw_reply *r)
    size_t mw_oip_reply_write(const mw_reply *r, uint8_t *to, uint8_t **where)
