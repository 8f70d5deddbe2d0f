/* libFuzzer harness of the ModelInferRequest scanner and what the server does with its result; README.md says how to run it.
 *
 * The message and every buffer written lie in allocations of exactly their size, so that AddressSanitizer sees one byte
 * too far. Beyond memory errors it checks what callers rely on: spans lie inside the message, counts stay inside the
 * tables, the size promised is the size written, model_name read alone and the envelope are what the full scan found. */
#include <stdlib.h>

#include "oip.h"

#define REQUIRE(condition)                  \
    do {                                    \
        if (!(condition)) __builtin_trap(); \
    } while (0)

static mw_scan found, envelope;

static void require_inside(mw_span part, mw_span whole) {
    if (part.size == 0) return;
    REQUIRE(part.data >= whole.data && part.size <= whole.size &&
            (size_t)(part.data - whole.data) <= whole.size - part.size);
}

/* Elements of one or more bytes on the wire grow to eight at most, so the conversion is bounded by its message. */
static void convert(const mw_scan_input *in) {
    for (int t = 1; t < MW_DTYPES; t++) {
        mw_dtype dtype = (mw_dtype)t;
        int kind = mw_oip_contents_kind(dtype);
        if (!kind) continue;
        size_t size = mw_oip_contents_size(in, dtype);
        REQUIRE(size <= 8 * in->self.size);
        REQUIRE((size > 0) == (in->contents_kinds >> kind & 1));
        uint8_t *raw = malloc(size);
        int result = mw_oip_contents(in, dtype, raw, size);
        if (mw_dtype_size(dtype) != 1 && mw_dtype_size(dtype) != 2) REQUIRE(result == 0);
        if (dtype == MW_BYTES) {
            mw_span strings = {raw, size};
            REQUIRE(mw_oip_bytes_valid(strings, (int64_t)in->contents_count[kind]));
        }
        free(raw);
    }
}

static void check_input(const mw_scan_input *in, mw_span message) {
    require_inside(in->name, message);
    require_inside(in->datatype, message);
    require_inside(in->self, message);
    REQUIRE(in->rank <= MW_MAX_RANK);
    int64_t elements = mw_oip_elements(in->shape, in->rank);
    REQUIRE(elements >= -1 && elements <= (int64_t)1 << 59);
    convert(in);
}

/* An answer that echoes the request: its strings and sizes are the fuzzer's. */
static void answer(void) {
    static mw_reply_output outputs[MW_MAX_TENSORS];
    static uint8_t *where[MW_MAX_TENSORS];
    mw_reply r = {.model_name = found.model_name,
                  .model_version = found.model_version,
                  .id = found.id,
                  .fallback = found.model_name,
                  .fallback_source = found.id,
                  .has_anomaly = found.sequence,
                  .has_anomaly_score = found.timeout_invalid,
                  .outputs = found.inputs,
                  .output = outputs};
    for (uint32_t i = 0; i < found.inputs; i++) {
        const mw_scan_input *in = &found.input[i];
        outputs[i] = (mw_reply_output){
            .name = in->name, .dtype = mw_dtype_of(in->datatype), .rank = in->rank, .shape = in->shape, .rows = -1};
        if (i < found.raws) outputs[i].raw = found.raw[i];
    }
    size_t size = mw_oip_reply_size(&r);
    uint8_t *to = malloc(size);
    REQUIRE(mw_oip_reply_write(&r, to, where) == size);
    for (uint32_t i = 0; i < r.outputs; i++)
        require_inside((mw_span){where[i], outputs[i].raw.size}, (mw_span){to, size});
    free(to);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t *copy = malloc(size);
    if (size) memcpy(copy, data, size);
    mw_span message = {copy, size}, name, version, first_name, first_version;
    mw_scan_status status = mw_oip_scan(message, &found);
    int named = mw_oip_names(message, &name, &version), enveloped = mw_oip_scan_envelope(message, &envelope);
    mw_oip_bytes_valid(message, (int64_t)size / 5);
    mw_stream_answer streamed;
    mw_oip_stream_answer(message, &streamed);
    require_inside(streamed.id, message);
    mw_span response;
    if (mw_oip_stream_response(message, &response)) require_inside(response, message);
    if (mw_oip_first_names(message, &first_name, &first_version)) {
        require_inside(first_name, message);
        require_inside(first_version, message);
    }
    if (enveloped) {
        REQUIRE(named && envelope.inputs == 0 && envelope.outputs == 0 && envelope.raws == 0 &&
                envelope.timeout_us >= 0);
        require_inside(envelope.model_name, message);
        require_inside(envelope.model_version, message);
        require_inside(envelope.id, message);
    }
    if (status == MW_SCAN_OK) {
        REQUIRE(enveloped && envelope.id.data == found.id.data && envelope.id.size == found.id.size);
        REQUIRE(envelope.model_version.data == found.model_version.data && envelope.timeout_us == found.timeout_us);
        REQUIRE(named && name.data == found.model_name.data && name.size == found.model_name.size);
        REQUIRE(version.data == found.model_version.data && version.size == found.model_version.size);
        REQUIRE(found.inputs <= MW_MAX_TENSORS && found.outputs <= MW_MAX_TENSORS && found.raws <= MW_MAX_TENSORS);
        REQUIRE(found.timeout_us >= 0);
        require_inside(found.model_name, message);
        require_inside(found.model_version, message);
        require_inside(found.id, message);
        for (uint32_t i = 0; i < found.inputs; i++) check_input(&found.input[i], message);
        for (uint32_t i = 0; i < found.outputs; i++) require_inside(found.output[i].name, message);
        for (uint32_t i = 0; i < found.raws; i++) {
            require_inside(found.raw[i], message);
            mw_oip_bytes_valid(found.raw[i],
                               found.inputs > i ? mw_oip_elements(found.input[i].shape, found.input[i].rank) : 1);
        }
        answer();
    }
    free(copy);
    return 0;
}
