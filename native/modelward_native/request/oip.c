/* ModelInferRequest scanned in one pass. Calls nest as deep as the message types do (four), whatever the bytes say. */
#include "oip.h"

#include "utf8.h"
#include "wire.h"

/* How many messages lie above each type, which is what its unknown groups may no longer nest. */
enum { DEPTH_REQUEST = 0, DEPTH_TENSOR = 1, DEPTH_CONTENTS = 2 };

/* InferParameter.parameter_choice, by field number. */
enum { PARAMETER_UNSET = 0, PARAMETER_BOOL, PARAMETER_INT64, PARAMETER_STRING, PARAMETER_DOUBLE, PARAMETER_UINT64 };

typedef struct {
    mw_span key;
    mw_span text;     /* of a string */
    uint64_t number;  /* of a bool, int64 or uint64: the varint as sent */
    int choice;
} parameter;

static inline int read_string(mw_cursor *c, mw_span *s) { return mw_read_bytes(c, s) && mw_utf8_valid(*s); }

static int key_is(const parameter *p, const char *name, size_t size) {
    return p->key.size == size && memcmp(p->key.data, name, size) == 0;
}
#define KEY_IS(p, name) key_is(p, name, sizeof(name) - 1)

/* ---- parameters: map<string, InferParameter> entries ---- */

/* Leaves the choice of an earlier value field of the same entry standing where this one sets none: they merge. */
static int scan_parameter_value(mw_span message, unsigned depth, parameter *p) {
    mw_cursor c = mw_cursor_over(message);
    while (c.at < c.end) {
        uint32_t tag;
        if (!mw_read_tag(&c, &tag)) return 0;
        switch (tag) {
            case MW_TAG(PARAMETER_BOOL, MW_WIRE_VARINT):
            case MW_TAG(PARAMETER_INT64, MW_WIRE_VARINT):
            case MW_TAG(PARAMETER_UINT64, MW_WIRE_VARINT):
                if (!mw_read_varint(&c, &p->number)) return 0;
                break;
            case MW_TAG(PARAMETER_STRING, MW_WIRE_LEN):
                if (!read_string(&c, &p->text)) return 0;
                break;
            case MW_TAG(PARAMETER_DOUBLE, MW_WIRE_I64):
                if (!mw_skip_bytes(&c, 8)) return 0;
                break;
            default:
                if (!mw_skip(&c, tag, depth)) return 0;
                continue;
        }
        p->choice = (int)(tag >> 3);
    }
    return 1;
}

/* A missing key is "", a missing value is an unset parameter; either may come twice. */
static int scan_parameter(mw_span entry, unsigned depth, parameter *p) {
    mw_cursor c = mw_cursor_over(entry);
    memset(p, 0, sizeof *p);
    while (c.at < c.end) {
        uint32_t tag;
        mw_span value;
        if (!mw_read_tag(&c, &tag)) return 0;
        switch (tag) {
            case MW_TAG(1, MW_WIRE_LEN):
                if (!read_string(&c, &p->key)) return 0;
                break;
            case MW_TAG(2, MW_WIRE_LEN):
                if (!mw_read_bytes(&c, &value) || !scan_parameter_value(value, depth + 1, p)) return 0;
                break;
            default:
                if (!mw_skip(&c, tag, depth)) return 0;
        }
    }
    return 1;
}

static int is_shared_memory(const parameter *p) {
    static const char prefix[] = "shared_memory_";
    return p->key.size >= sizeof prefix - 1 && memcmp(p->key.data, prefix, sizeof prefix - 1) == 0;
}

/* Clients send whole numbers as int64, uint64 or digits. Digits past 64 bits saturate. */
static int whole_number(const parameter *p, uint64_t *value) {
    if (p->choice == PARAMETER_UINT64 || (p->choice == PARAMETER_INT64 && (int64_t)p->number >= 0)) {
        *value = p->number;
        return 1;
    }
    if (p->choice != PARAMETER_STRING || p->text.size == 0) return 0;
    uint64_t v = 0;
    for (size_t i = 0; i < p->text.size; i++) {
        unsigned digit = p->text.data[i] - (unsigned)'0';
        if (digit > 9) return 0;
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, digit, &v)) v = UINT64_MAX;
    }
    *value = v;
    return 1;
}

static int is_nonzero(const parameter *p) {
    switch (p->choice) {
        case PARAMETER_UNSET: return 0;
        case PARAMETER_STRING: return p->text.size > 0;
        case PARAMETER_DOUBLE: return 1;
        default: return p->number != 0;
    }
}

/* A key that comes twice counts as last sent, so every field is assigned anew. */
static void apply_to_request(const parameter *p, mw_scan *out) {
    uint64_t value = 0;
    if (KEY_IS(p, "timeout")) {
        out->timeout_invalid = !whole_number(p, &value);
        out->timeout_us = value > INT64_MAX ? INT64_MAX : (int64_t)value;
    } else if (KEY_IS(p, "priority")) {
        out->priority_invalid = !whole_number(p, &value);
        out->priority = value;
    } else if (KEY_IS(p, "sequence_id")) {
        out->sequence = (uint8_t)is_nonzero(p);
    }
}

/* ---- InferTensorContents ---- */

/* Varints that fill the span exactly; -1 if they do not or one is longer than ten bytes. */
static int64_t count_varints(mw_span packed) {
    mw_cursor c = mw_cursor_over(packed);
    int64_t count = 0;
    while (c.at < c.end) {
        uint64_t eight;
        if (mw_left(&c) >= 8 && (memcpy(&eight, c.at, 8), (eight & 0x8080808080808080u) == 0)) {
            c.at += 8;
            count += 8;
        } else {
            if (!mw_read_varint(&c, &eight)) return -1;
            count++;
        }
    }
    return count;
}

static void add_elements(mw_scan_input *in, unsigned kind, uint64_t count) {
    in->contents_count[kind] += count;
    if (count) in->contents_kinds |= (uint16_t)(1u << kind);
}

static int scan_packed(mw_span packed, mw_scan_input *in, unsigned kind) {
    if (kind == MW_CONTENTS_BYTES) {
        in->contents_bytes += packed.size;
        add_elements(in, kind, 1);
        return 1;
    }
    if (kind == MW_CONTENTS_FP32 || kind == MW_CONTENTS_FP64) {
        size_t element = kind == MW_CONTENTS_FP32 ? 4 : 8;
        if (packed.size % element) return 0;
        add_elements(in, kind, packed.size / element);
        return 1;
    }
    int64_t count = count_varints(packed);
    if (count < 0) return 0;
    add_elements(in, kind, (uint64_t)count);
    return 1;
}

/* Adds to what an earlier contents field of the same tensor held: they merge. */
static int scan_contents(mw_span message, mw_scan_input *in) {
    mw_cursor c = mw_cursor_over(message);
    in->has_contents = 1;
    while (c.at < c.end) {
        uint32_t tag;
        mw_span packed;
        if (!mw_read_tag(&c, &tag)) return 0;
        unsigned kind = tag >> 3, wire = tag & 7;
        if (wire == MW_WIRE_LEN && kind < MW_CONTENTS_KINDS) {
            if (!mw_read_bytes(&c, &packed) || !scan_packed(packed, in, kind)) return 0;
            continue;
        }
        if (!mw_skip(&c, tag, DEPTH_CONTENTS)) return 0;
        if ((wire == MW_WIRE_VARINT && kind <= MW_CONTENTS_UINT64) || tag == MW_TAG(MW_CONTENTS_FP32, MW_WIRE_I32) ||
            tag == MW_TAG(MW_CONTENTS_FP64, MW_WIRE_I64))
            add_elements(in, kind, 1);
    }
    return 1;
}

/* ---- tensors ---- */

static int read_dimension(mw_cursor *c, mw_scan_input *in, mw_scan_status *fault) {
    uint64_t dimension;
    if (!mw_read_varint(c, &dimension)) return 0;
    if (in->rank == MW_MAX_RANK) {
        *fault = MW_SCAN_RANK;
        return 0;
    }
    in->shape[in->rank++] = (int64_t)dimension;
    return 1;
}

static void start_input(mw_scan_input *in, mw_span message) {
    in->name = in->datatype = (mw_span){NULL, 0};
    in->self = message;
    in->rank = 0;
    in->shared_memory = in->has_contents = 0;
    in->contents_kinds = 0;
    memset(in->contents_count, 0, sizeof in->contents_count);
    in->contents_bytes = 0;
}

static mw_scan_status scan_input(mw_span message, mw_scan_input *in) {
    mw_cursor c = mw_cursor_over(message);
    mw_scan_status fault = MW_SCAN_MALFORMED;
    start_input(in, message);
    while (c.at < c.end) {
        uint32_t tag;
        mw_span field;
        mw_cursor dimensions;
        parameter p;
        if (!mw_read_tag(&c, &tag)) return MW_SCAN_MALFORMED;
        switch (tag) {
            case MW_TAG(1, MW_WIRE_LEN):
                if (!read_string(&c, &in->name)) return MW_SCAN_MALFORMED;
                break;
            case MW_TAG(2, MW_WIRE_LEN):
                if (!read_string(&c, &in->datatype)) return MW_SCAN_MALFORMED;
                break;
            case MW_TAG(3, MW_WIRE_VARINT):
                if (!read_dimension(&c, in, &fault)) return fault;
                break;
            case MW_TAG(3, MW_WIRE_LEN):
                if (!mw_read_bytes(&c, &field)) return MW_SCAN_MALFORMED;
                dimensions = mw_cursor_over(field);
                while (dimensions.at < dimensions.end)
                    if (!read_dimension(&dimensions, in, &fault)) return fault;
                break;
            case MW_TAG(4, MW_WIRE_LEN):
                if (!mw_read_bytes(&c, &field) || !scan_parameter(field, DEPTH_TENSOR + 1, &p)) return MW_SCAN_MALFORMED;
                in->shared_memory |= (uint8_t)is_shared_memory(&p);
                break;
            case MW_TAG(5, MW_WIRE_LEN):
                if (!mw_read_bytes(&c, &field) || !scan_contents(field, in)) return MW_SCAN_MALFORMED;
                break;
            default:
                if (!mw_skip(&c, tag, DEPTH_TENSOR)) return MW_SCAN_MALFORMED;
        }
    }
    return MW_SCAN_OK;
}

static int scan_output(mw_span message, mw_scan_output *output) {
    mw_cursor c = mw_cursor_over(message);
    memset(output, 0, sizeof *output);
    while (c.at < c.end) {
        uint32_t tag;
        mw_span field;
        parameter p;
        if (!mw_read_tag(&c, &tag)) return 0;
        switch (tag) {
            case MW_TAG(1, MW_WIRE_LEN):
                if (!read_string(&c, &output->name)) return 0;
                break;
            case MW_TAG(2, MW_WIRE_LEN):
                if (!mw_read_bytes(&c, &field) || !scan_parameter(field, DEPTH_TENSOR + 1, &p)) return 0;
                output->shared_memory |= (uint8_t)is_shared_memory(&p);
                if (KEY_IS(&p, "classification")) output->classification = (uint8_t)is_nonzero(&p);
                break;
            default:
                if (!mw_skip(&c, tag, DEPTH_TENSOR)) return 0;
        }
    }
    return 1;
}

/* ---- the request ---- */

/* Only what a reader of an empty message would read: the tables behind it are 90 KB. */
static void start_request(mw_scan *out) {
    out->model_name = out->model_version = out->id = (mw_span){NULL, 0};
    out->inputs = out->outputs = out->raws = 0;
    out->timeout_us = 0;
    out->priority = 0;
    out->timeout_invalid = out->priority_invalid = out->sequence = 0;
}

mw_scan_status mw_oip_scan(mw_span message, mw_scan *out) {
    mw_cursor c = mw_cursor_over(message);
    start_request(out);
    while (c.at < c.end) {
        uint32_t tag;
        mw_span field;
        parameter p;
        mw_scan_status status;
        if (!mw_read_tag(&c, &tag)) return MW_SCAN_MALFORMED;
        switch (tag) {
            case MW_TAG(1, MW_WIRE_LEN):
                if (!read_string(&c, &out->model_name)) return MW_SCAN_MALFORMED;
                break;
            case MW_TAG(2, MW_WIRE_LEN):
                if (!read_string(&c, &out->model_version)) return MW_SCAN_MALFORMED;
                break;
            case MW_TAG(3, MW_WIRE_LEN):
                if (!read_string(&c, &out->id)) return MW_SCAN_MALFORMED;
                break;
            case MW_TAG(4, MW_WIRE_LEN):
                if (!mw_read_bytes(&c, &field) || !scan_parameter(field, DEPTH_REQUEST + 1, &p)) return MW_SCAN_MALFORMED;
                apply_to_request(&p, out);
                break;
            case MW_TAG(5, MW_WIRE_LEN):
                if (!mw_read_bytes(&c, &field)) return MW_SCAN_MALFORMED;
                if (out->inputs == MW_MAX_TENSORS) return MW_SCAN_TOO_MANY_INPUTS;
                status = scan_input(field, &out->input[out->inputs++]);
                if (status != MW_SCAN_OK) return status;
                break;
            case MW_TAG(6, MW_WIRE_LEN):
                if (!mw_read_bytes(&c, &field)) return MW_SCAN_MALFORMED;
                if (out->outputs == MW_MAX_TENSORS) return MW_SCAN_TOO_MANY_OUTPUTS;
                if (!scan_output(field, &out->output[out->outputs++])) return MW_SCAN_MALFORMED;
                break;
            case MW_TAG(7, MW_WIRE_LEN):
                if (!mw_read_bytes(&c, &field)) return MW_SCAN_MALFORMED;
                if (out->raws == MW_MAX_TENSORS) return MW_SCAN_TOO_MANY_INPUTS;
                out->raw[out->raws++] = field;
                break;
            default:
                if (!mw_skip(&c, tag, DEPTH_REQUEST)) return MW_SCAN_MALFORMED;
        }
    }
    return MW_SCAN_OK;
}

/* One field of an answer, its tag read. */
static mw_scan_status scan_answer_field(uint32_t tag, mw_cursor *c, mw_scan *out) {
    mw_span field;
    parameter p;
    switch (tag) {
        case MW_TAG(1, MW_WIRE_LEN): return read_string(c, &out->model_name) ? MW_SCAN_OK : MW_SCAN_MALFORMED;
        case MW_TAG(2, MW_WIRE_LEN): return read_string(c, &out->model_version) ? MW_SCAN_OK : MW_SCAN_MALFORMED;
        case MW_TAG(3, MW_WIRE_LEN): return read_string(c, &out->id) ? MW_SCAN_OK : MW_SCAN_MALFORMED;
        case MW_TAG(4, MW_WIRE_LEN):
            return mw_read_bytes(c, &field) && scan_parameter(field, DEPTH_REQUEST + 1, &p) ? MW_SCAN_OK : MW_SCAN_MALFORMED;
        case MW_TAG(5, MW_WIRE_LEN):
            if (!mw_read_bytes(c, &field)) return MW_SCAN_MALFORMED;
            if (out->inputs == MW_MAX_TENSORS) return MW_SCAN_TOO_MANY_OUTPUTS;
            return scan_input(field, &out->input[out->inputs++]);
        default: return mw_skip(c, tag, DEPTH_REQUEST) ? MW_SCAN_OK : MW_SCAN_MALFORMED;
    }
}

mw_scan_status mw_oip_scan_answer(mw_span message, size_t most, mw_scan *out) {
    mw_cursor c = mw_cursor_over(message);
    start_request(out);
    while (c.at < c.end) {
        uint32_t tag;
        const uint8_t *start = c.at;
        if (!mw_read_tag(&c, &tag)) return MW_SCAN_MALFORMED;
        if (tag == MW_TAG(6, MW_WIRE_LEN)) {
            if (out->raws == MW_MAX_TENSORS) return MW_SCAN_TOO_MANY_OUTPUTS;
            if (!mw_read_bytes(&c, &out->raw[out->raws++])) return MW_SCAN_MALFORMED;
            continue;
        }
        mw_cursor clipped = c;
        if (mw_left(&c) > most) clipped.end = c.at + most;
        mw_scan_status status = scan_answer_field(tag, &clipped, out);
        size_t spent = (size_t)(clipped.at - start);
        if (spent > most || (status == MW_SCAN_MALFORMED && clipped.end != c.end)) return MW_SCAN_TOO_LARGE;
        if (status != MW_SCAN_OK) return status;
        most -= spent;
        c.at = clipped.at;
    }
    return MW_SCAN_OK;
}

/* tag: of the tensor's parameters. */
static int may_share(mw_span tensor, uint32_t tag) {
    static const char prefix[] = "shared_memory_";
    if (tensor.size < sizeof prefix - 1 || !memmem(tensor.data, tensor.size, prefix, sizeof prefix - 1)) return 0;
    mw_cursor c = mw_cursor_over(tensor);
    while (c.at < c.end) {
        uint32_t found;
        mw_span field;
        parameter p;
        if (!mw_read_tag(&c, &found)) return 1;
        if (found != tag) {
            if (!mw_skip(&c, found, DEPTH_TENSOR)) return 1;
        } else if (!mw_read_bytes(&c, &field) || !scan_parameter(field, DEPTH_TENSOR + 1, &p) || is_shared_memory(&p)) {
            return 1;
        }
    }
    return 0;
}

int mw_oip_outline(mw_span message, mw_scan *out) {
    mw_cursor c = mw_cursor_over(message);
    start_request(out);
    out->shares = 0;
    while (c.at < c.end) {
        uint32_t tag;
        mw_span field;
        parameter p;
        if (!mw_read_tag(&c, &tag)) return 0;
        switch (tag) {
            case MW_TAG(1, MW_WIRE_LEN):
                if (!read_string(&c, &out->model_name)) return 0;
                break;
            case MW_TAG(2, MW_WIRE_LEN):
                if (!read_string(&c, &out->model_version)) return 0;
                break;
            case MW_TAG(3, MW_WIRE_LEN):
                if (!read_string(&c, &out->id)) return 0;
                break;
            case MW_TAG(4, MW_WIRE_LEN):
                if (!mw_read_bytes(&c, &field)) return 0;
                if (scan_parameter(field, DEPTH_REQUEST + 1, &p)) apply_to_request(&p, out);
                break;
            case MW_TAG(5, MW_WIRE_LEN):
            case MW_TAG(6, MW_WIRE_LEN):
                if (!mw_read_bytes(&c, &field)) return 0;
                out->shares |= (uint8_t)may_share(field, tag == MW_TAG(5, MW_WIRE_LEN) ? MW_TAG(4, MW_WIRE_LEN) : MW_TAG(2, MW_WIRE_LEN));
                break;
            default:
                if (!mw_skip(&c, tag, DEPTH_REQUEST)) return 0;
        }
    }
    return 1;
}

int mw_oip_first_model_name(mw_span piece, mw_span *name) {
    mw_cursor c = mw_cursor_over(piece);
    uint32_t tag;
    while (c.at < c.end && mw_read_tag(&c, &tag)) {
        if (tag == MW_TAG(1, MW_WIRE_LEN)) return read_string(&c, name);
        if (!mw_skip(&c, tag, DEPTH_REQUEST)) return 0;
    }
    return 0;
}

int mw_oip_model_name(mw_span message, mw_span *name) {
    mw_cursor c = mw_cursor_over(message);
    *name = (mw_span){NULL, 0};
    while (c.at < c.end) {
        uint32_t tag;
        if (!mw_read_tag(&c, &tag)) return 0;
        if (tag == MW_TAG(1, MW_WIRE_LEN) ? !read_string(&c, name) : !mw_skip(&c, tag, DEPTH_REQUEST)) return 0;
    }
    return 1;
}

/* ---- answers on streams ---- */

/* A ModelInferResponse that lies `depth` messages below the outermost one. */
static void scan_answer(mw_span message, unsigned depth, mw_stream_answer *out) {
    mw_cursor c = mw_cursor_over(message);
    uint32_t tag;
    while (c.at < c.end && mw_read_tag(&c, &tag)) {
        mw_span field;
        parameter p;
        if (tag == MW_TAG(3, MW_WIRE_LEN)) {
            if (!mw_read_bytes(&c, &out->id)) return;
        } else if (tag == MW_TAG(4, MW_WIRE_LEN)) {
            if (!mw_read_bytes(&c, &field) || !scan_parameter(field, depth + 1, &p)) return;
            if (KEY_IS(&p, "triton_final_response") && p.choice == PARAMETER_BOOL) out->final = p.number != 0;
        } else if (tag == MW_TAG(2, MW_WIRE_LEN) && depth == 0) {
            if (!mw_read_bytes(&c, &field)) return;
            scan_answer(field, 1, out);  /* of a plain answer this is its version, in which nothing is found */
        } else if (!mw_skip(&c, tag, depth)) {
            return;
        }
    }
}

void mw_oip_stream_answer(mw_span message, mw_stream_answer *out) {
    out->id = (mw_span){NULL, 0};
    out->final = -1;
    scan_answer(message, 0, out);
}
