/* What a message says of itself outside of its tensors: for requests that are passed on undecoded, for limits, and for answers
 * on streams. */
#include "oip_parameter.h"

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

int mw_oip_scan_envelope(mw_span message, mw_scan *out) {
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
                out->shares |= (uint8_t)may_share(field, tag == MW_TAG(5, MW_WIRE_LEN) ? MW_TAG(4, MW_WIRE_LEN)
                                                                                       : MW_TAG(2, MW_WIRE_LEN));
                break;
            default:
                if (!mw_skip(&c, tag, DEPTH_REQUEST)) return 0;
        }
    }
    return 1;
}

int mw_oip_first_names(mw_span piece, mw_span *name, mw_span *version) {
    mw_cursor c = mw_cursor_over(piece);
    uint32_t tag;
    *name = *version = (mw_span){NULL, 0};
    while (c.at < c.end && mw_read_tag(&c, &tag)) {
        if (tag != MW_TAG(1, MW_WIRE_LEN)) {
            if (!mw_skip(&c, tag, DEPTH_REQUEST)) return 0;
            continue;
        }
        if (!read_string(&c, name)) return 0;
        if (c.at < c.end && mw_read_tag(&c, &tag) && tag == MW_TAG(2, MW_WIRE_LEN) && !read_string(&c, version))
            *version = (mw_span){NULL, 0}; /* cut off, or malformed: what is whole tells */
        return 1;
    }
    return 0;
}

int mw_oip_names(mw_span message, mw_span *name, mw_span *version) {
    mw_cursor c = mw_cursor_over(message);
    *name = *version = (mw_span){NULL, 0};
    while (c.at < c.end) {
        uint32_t tag;
        if (!mw_read_tag(&c, &tag)) return 0;
        switch (tag) {
            case MW_TAG(1, MW_WIRE_LEN):
                if (!read_string(&c, name)) return 0;
                break;
            case MW_TAG(2, MW_WIRE_LEN):
                if (!mw_read_bytes(&c, version)) return 0;
                break;
            default:
                if (!mw_skip(&c, tag, DEPTH_REQUEST)) return 0;
        }
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
            scan_answer(field, 1, out); /* of a plain answer this is its version, in which nothing is found */
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

int mw_oip_stream_response(mw_span message, mw_span *response) {
    mw_cursor c = mw_cursor_over(message);
    unsigned responses = 0;
    *response = (mw_span){NULL, 0};
    while (c.at < c.end) {
        uint32_t tag;
        if (!mw_read_tag(&c, &tag)) return 0;
        if (tag == MW_TAG(2, MW_WIRE_LEN)) {
            if (!mw_read_bytes(&c, response)) return 0;
            responses++;
        } else if (tag >> 3 > 2) { /* only a plain answer has others */
            *response = message;
            return 1;
        } else if (!mw_skip(&c, tag, 0)) {
            return 0;
        }
    }
    return responses <= 1;
}
