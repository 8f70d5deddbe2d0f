# Declarations of modelward_native/observe/*.h, and what is observed of one version.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from modelward_native.request.tensor cimport mw_view
from modelward_native.score.profile cimport mw_profile

cdef extern from "ring.h" nogil:
    ctypedef struct mw_ring:
        uint64_t size
        uint64_t kept
        uint64_t dropped
        uint64_t cut
        uint64_t written
        uint64_t read
    ctypedef struct mw_ring_head:
        uint32_t size
        uint32_t kind
    uint64_t mw_ring_size_of(uint64_t bytes)
    uint8_t *mw_ring_reserve(mw_ring *, uint64_t size)
    void mw_ring_commit(mw_ring *, const uint8_t *at, uint64_t size)
    const uint8_t *mw_ring_next(const mw_ring *, uint64_t size_of_ring, uint64_t end, uint64_t *position, uint32_t *size)

cdef extern from "record.h" nogil:
    enum:
        MW_OBSERVED_ROWS
        MW_OBSERVED_ID
        MW_OBSERVED_EVIDENCE
        MW_OBSERVED_SOURCE
        MW_OBSERVED_REQUEST
        MW_BY_MODEL
        MW_BY_FALLBACK
        MW_REFUSED
        MW_CUT_INPUTS
        MW_CUT_ANSWER
        MW_CUT_SCORES
    ctypedef struct mw_observed_source:
        mw_ring_head head
        uint32_t source
        uint32_t size
    ctypedef struct mw_observed:
        mw_ring_head head
        uint32_t source
        uint32_t chance
        int64_t at
        int64_t took
        uint64_t identity
        int64_t total_rows
        uint64_t unasked
        double score
        double p_value
        float evidence[MW_OBSERVED_EVIDENCE]
        uint8_t trace[16]
        uint32_t rows
        uint32_t features
        uint32_t columns
        uint32_t id_size
        uint32_t inputs_size
        uint32_t answer_size
        uint8_t caller
        uint8_t traced
        uint8_t answered_by
        uint8_t reason
        uint8_t fallback_reason
        uint8_t flagged
        uint8_t step
        uint8_t cut
    ctypedef struct mw_observed_row:
        double score
        double p_value
        uint32_t row
        uint32_t flags
        int32_t cell
    ctypedef struct mw_observed_tensor:
        uint32_t dtype
        uint32_t rank
        uint64_t size
    uint64_t mw_padded(uint64_t)
    uint64_t mw_category_hash(uint64_t before, const uint8_t *element, uint32_t size)

cdef extern from "rows.h" nogil:
    mw_profile mw_raw_profile(const mw_profile *, const double *zeros, const double *ones)
    uint32_t mw_observe_rows(
        const mw_profile *, const mw_profile *raw, const mw_view *, int64_t rows, uint32_t count, int64_t step, uint64_t seed,
        float *row, float *scratch, mw_observed_row *out, float *features, uint64_t *categories)

cdef struct Observed:             # what of a version's requests is observed; owned by its modelward_native.request.served.Served
    uint32_t chosen               # a request is where its random number is at most this
    uint32_t number               # of the source, among those of this process
    bint described                # it stands in the ring
    bint tensors                  # inputs are kept as they came
    uint32_t most                 # bytes of a request's inputs that are kept, and of its answer
    const char *description       # JSON; borrowed from a bytes object that the Served holds
    uint32_t description_size
    bint scored                   # there is a profile, and what follows
    mw_profile raw
    double *unscaled              # owned: zeros, then ones
    float *row                    # owned: room for two rows
    float *scratch                # owned
