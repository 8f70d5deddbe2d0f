/* ModelInferRequest and ModelInferResponse scanned in one pass. Calls nest as deep as the message types do (four), whatever the
 * bytes say. */
#include "oip_parameter.h"

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

mw_scan_status mw_oip_scan_tensor(mw_span message, mw_scan_input *in) {
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
                if (!mw_read_bytes(&c, &field) || !scan_parameter(field, DEPTH_TENSOR + 1, &p))
                    return MW_SCAN_MALFORMED;
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
                if (!mw_read_bytes(&c, &field) || !scan_parameter(field, DEPTH_REQUEST + 1, &p))
                    return MW_SCAN_MALFORMED;
                apply_to_request(&p, out);
                break;
            case MW_TAG(5, MW_WIRE_LEN):
                if (!mw_read_bytes(&c, &field)) return MW_SCAN_MALFORMED;
                if (out->inputs == MW_MAX_TENSORS) return MW_SCAN_TOO_MANY_INPUTS;
                status = mw_oip_scan_tensor(field, &out->input[out->inputs++]);
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
            return mw_read_bytes(c, &field) && scan_parameter(field, DEPTH_REQUEST + 1, &p) ? MW_SCAN_OK
                                                                                            : MW_SCAN_MALFORMED;
        case MW_TAG(5, MW_WIRE_LEN):
            if (!mw_read_bytes(c, &field)) return MW_SCAN_MALFORMED;
            if (out->inputs == MW_MAX_TENSORS) return MW_SCAN_TOO_MANY_OUTPUTS;
            return mw_oip_scan_tensor(field, &out->input[out->inputs++]);
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
