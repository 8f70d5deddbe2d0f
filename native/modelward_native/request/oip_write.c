/* ModelInferResponse written: every length is known before the first byte, so nothing is ever moved. */
#include "oip.h"
#include "wire.h"

/* InferParameter.parameter_choice, by field number. */
enum { PARAMETER_BOOL = 1, PARAMETER_STRING = 3, PARAMETER_DOUBLE = 4 };

static size_t varint_size(uint64_t v) { return (size_t)(63 - __builtin_clzll(v | 1)) / 7 + 1; }

/* Field numbers here stay below 16: one byte of tag. */
static size_t bytes_size(size_t payload) { return 1 + varint_size(payload) + payload; }

/* proto3 leaves an empty string out. */
static size_t string_size(size_t payload) { return payload ? bytes_size(payload) : 0; }

static uint8_t *put_varint(uint8_t *at, uint64_t v) {
    for (; v >= 0x80; v >>= 7) *at++ = (uint8_t)(v | 0x80);
    *at++ = (uint8_t)v;
    return at;
}

static uint8_t *put_header(uint8_t *at, uint32_t field, size_t payload) {
    *at++ = (uint8_t)MW_TAG(field, MW_WIRE_LEN);
    return put_varint(at, payload);
}

static uint8_t *put_bytes(uint8_t *at, uint32_t field, const void *data, size_t size) {
    at = put_header(at, field, size);
    if (size) memcpy(at, data, size);
    return at + size;
}

static uint8_t *put_string(uint8_t *at, uint32_t field, mw_span s) {
    return s.size ? put_bytes(at, field, s.data, s.size) : at;
}

/* ---- parameters: map<string, InferParameter> entries {1: key, 2: value} of field 4 ---- */

static const char key_fallback[] = "modelward_fallback";
static const char key_fallback_source[] = "modelward_fallback_source";
static const char key_anomaly_score[] = "modelward_anomaly_score";
static const char key_anomaly[] = "modelward_anomaly";
static const char key_final[] = "triton_final_response";
#define KEY_SIZE(key) (sizeof(key) - 1)

static size_t parameter_size(size_t key, size_t value) { return bytes_size(bytes_size(key) + bytes_size(value)); }

static size_t string_parameter_size(size_t key, mw_span s) { return s.size ? parameter_size(key, bytes_size(s.size)) : 0; }

static size_t parameters_size(const mw_reply *r) {
    return string_parameter_size(KEY_SIZE(key_fallback), r->fallback) +
           string_parameter_size(KEY_SIZE(key_fallback_source), r->fallback_source) +
           (r->has_anomaly_score ? parameter_size(KEY_SIZE(key_anomaly_score), 1 + sizeof(double)) : 0) +
           (r->has_anomaly ? parameter_size(KEY_SIZE(key_anomaly), 2) : 0) +
           (r->final_response ? parameter_size(KEY_SIZE(key_final), 2) : 0);
}

/* Everything of an entry but its value, which the caller writes next. */
static uint8_t *put_parameter_key(uint8_t *at, const char *key, size_t key_size, size_t value) {
    at = put_header(at, 4, bytes_size(key_size) + bytes_size(value));
    at = put_bytes(at, 1, key, key_size);
    return put_header(at, 2, value);
}

static uint8_t *put_string_parameter(uint8_t *at, const char *key, size_t key_size, mw_span s) {
    if (!s.size) return at;
    at = put_parameter_key(at, key, key_size, bytes_size(s.size));
    return put_bytes(at, PARAMETER_STRING, s.data, s.size);
}

static uint8_t *put_bool_parameter(uint8_t *at, const char *key, size_t key_size, uint8_t value) {
    at = put_parameter_key(at, key, key_size, 2);
    *at++ = (uint8_t)MW_TAG(PARAMETER_BOOL, MW_WIRE_VARINT);
    *at++ = value;
    return at;
}

static uint8_t *put_parameters(uint8_t *at, const mw_reply *r) {
    at = put_string_parameter(at, key_fallback, KEY_SIZE(key_fallback), r->fallback);
    at = put_string_parameter(at, key_fallback_source, KEY_SIZE(key_fallback_source), r->fallback_source);
    if (r->has_anomaly_score) {
        at = put_parameter_key(at, key_anomaly_score, KEY_SIZE(key_anomaly_score), 1 + sizeof(double));
        *at++ = (uint8_t)MW_TAG(PARAMETER_DOUBLE, MW_WIRE_I64);
        memcpy(at, &r->anomaly_score, sizeof(double));
        at += sizeof(double);
    }
    if (r->has_anomaly) {
        /* a member of a oneof is present only if written, so false is written too */
        at = put_bool_parameter(at, key_anomaly, KEY_SIZE(key_anomaly), r->anomaly != 0);
    }
    if (r->final_response) at = put_bool_parameter(at, key_final, KEY_SIZE(key_final), 1);
    return at;
}

/* ---- outputs ---- */

static uint64_t dimension(const mw_reply_output *o, uint32_t i) {
    return (uint64_t)(i == 0 && o->rows >= 0 ? o->rows : o->shape[i]);
}

static size_t shape_size(const mw_reply_output *o) {
    size_t size = 0;
    for (uint32_t i = 0; i < o->rank; i++) size += varint_size(dimension(o, i));
    return size;
}

static size_t output_size(const mw_reply_output *o) {
    return string_size(o->name.size) + string_size(strlen(mw_dtype_name(o->dtype))) + string_size(shape_size(o));
}

static uint8_t *put_output(uint8_t *at, const mw_reply_output *o) {
    const char *datatype = mw_dtype_name(o->dtype);
    at = put_header(at, 5, output_size(o));
    at = put_string(at, 1, o->name);
    at = put_bytes(at, 2, datatype, strlen(datatype));
    if (o->rank) {
        at = put_header(at, 3, shape_size(o));
        for (uint32_t i = 0; i < o->rank; i++) at = put_varint(at, dimension(o, i));
    }
    return at;
}

/* ---- the message ---- */

size_t mw_oip_reply_size(const mw_reply *r) {
    size_t size = string_size(r->model_name.size) + string_size(r->model_version.size) + string_size(r->id.size) +
                  parameters_size(r);
    for (uint32_t i = 0; i < r->outputs; i++)
        size += bytes_size(output_size(&r->output[i])) + bytes_size(r->output[i].raw.size);
    return size;
}

size_t mw_oip_reply_write(const mw_reply *r, uint8_t *to, uint8_t **where) {
    uint8_t *at = to;
    at = put_string(at, 1, r->model_name);
    at = put_string(at, 2, r->model_version);
    at = put_string(at, 3, r->id);
    at = put_parameters(at, r);
    for (uint32_t i = 0; i < r->outputs; i++) at = put_output(at, &r->output[i]);
    for (uint32_t i = 0; i < r->outputs; i++) {
        mw_span raw = r->output[i].raw;
        at = put_header(at, 6, raw.size);
        if (where) where[i] = at;
        if (raw.data && raw.size) memcpy(at, raw.data, raw.size);
        at += raw.size;
    }
    return (size_t)(at - to);
}

size_t mw_oip_stream_reply_prefix(size_t reply_size, uint8_t *to) {
    return (size_t)(put_header(to, 2, reply_size) - to);
}
