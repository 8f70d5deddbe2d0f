/* What the files of this kernel share: strings read, parameters (entries of map<string, InferParameter>), and how a request's
 * scan begins. */
#ifndef MODELWARD_OIP_PARAMETER_H
#define MODELWARD_OIP_PARAMETER_H

#include "oip.h"
#include "protobuf.h"
#include "utf8.h"

/* How many messages lie above each type, which is what its unknown groups may no longer nest. */
enum { DEPTH_REQUEST = 0, DEPTH_TENSOR = 1, DEPTH_CONTENTS = 2 };

/* InferParameter.parameter_choice, by field number. */
enum { PARAMETER_UNSET = 0, PARAMETER_BOOL, PARAMETER_INT64, PARAMETER_STRING, PARAMETER_DOUBLE, PARAMETER_UINT64 };

typedef struct {
    mw_span key;
    mw_span text;    /* of a string */
    uint64_t number; /* of a bool, int64 or uint64: the varint as sent */
    int choice;
} parameter;

static inline int read_string(mw_cursor *c, mw_span *s) { return mw_read_bytes(c, s) && mw_utf8_valid(*s); }

static inline int key_is(const parameter *p, const char *name, size_t size) {
    return p->key.size == size && memcmp(p->key.data, name, size) == 0;
}
#define KEY_IS(p, name) key_is(p, name, sizeof(name) - 1)

/* Leaves the choice of an earlier value field of the same entry standing where this one sets none: they merge. */
static inline int scan_parameter_value(mw_span message, unsigned depth, parameter *p) {
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
static inline int scan_parameter(mw_span entry, unsigned depth, parameter *p) {
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

static inline int is_shared_memory(const parameter *p) {
    static const char prefix[] = "shared_memory_";
    return p->key.size >= sizeof prefix - 1 && memcmp(p->key.data, prefix, sizeof prefix - 1) == 0;
}

/* Clients send whole numbers as int64, uint64 or digits. Digits past 64 bits saturate. */
static inline int whole_number(const parameter *p, uint64_t *value) {
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

static inline int is_nonzero(const parameter *p) {
    switch (p->choice) {
        case PARAMETER_UNSET: return 0;
        case PARAMETER_STRING: return p->text.size > 0;
        case PARAMETER_DOUBLE: return 1;
        default: return p->number != 0;
    }
}

/* A key that comes twice counts as last sent, so every field is assigned again. */
static inline void apply_to_request(const parameter *p, mw_scan *out) {
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

/* Only what a reader of an empty message would read: the tables behind it are 90 KB. */
static inline void start_request(mw_scan *out) {
    out->model_name = out->model_version = out->id = (mw_span){NULL, 0};
    out->inputs = out->outputs = out->raws = 0;
    out->timeout_us = 0;
    out->priority = 0;
    out->timeout_invalid = out->priority_invalid = out->sequence = 0;
}

#endif
