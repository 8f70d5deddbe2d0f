/* ModelInferResponse written: every length is known before the first byte, so nothing is ever moved. */
#include "oip_parameter.h"

/* proto3 leaves an empty string out. */
static size_t string_size(size_t payload) { return payload ? mw_field_size(payload) : 0; }

static uint8_t *put_string(uint8_t *at, uint32_t field, mw_span s) {
    return s.size ? mw_put_bytes(at, field, s.data, s.size) : at;
}

/* ---- parameters: map<string, InferParameter> entries {1: key, 2: value} of field 4 ---- */

static const char key_fallback[] = "modelward_fallback";
static const char key_fallback_source[] = "modelward_fallback_source";
static const char key_restricted[] = "modelward_restricted";
static const char key_anomaly_score[] = "modelward_anomaly_score";
static const char key_anomaly[] = "modelward_anomaly";
static const char key_final[] = "triton_final_response";
#define KEY_SIZE(key) (sizeof(key) - 1)

static size_t parameter_size(size_t key, size_t value) {
    return mw_field_size(mw_field_size(key) + mw_field_size(value));
}

static size_t string_parameter_size(size_t key, mw_span s) {
    return s.size ? parameter_size(key, mw_field_size(s.size)) : 0;
}

static size_t parameters_size(const mw_reply *r) {
    return string_parameter_size(KEY_SIZE(key_fallback), r->fallback) +
           string_parameter_size(KEY_SIZE(key_fallback_source), r->fallback_source) +
           string_parameter_size(KEY_SIZE(key_restricted), r->restricted) +
           (r->has_anomaly_score ? parameter_size(KEY_SIZE(key_anomaly_score), 1 + sizeof(double)) : 0) +
           (r->has_anomaly ? parameter_size(KEY_SIZE(key_anomaly), 2) : 0) +
           (r->final_response ? parameter_size(KEY_SIZE(key_final), 2) : 0);
}

/* Everything of an entry but its value, which the caller writes next. */
static uint8_t *put_parameter_key(uint8_t *at, const char *key, size_t key_size, size_t value) {
    at = mw_put_header(at, 4, mw_field_size(key_size) + mw_field_size(value));
    at = mw_put_bytes(at, 1, key, key_size);
    return mw_put_header(at, 2, value);
}

static uint8_t *put_string_parameter(uint8_t *at, const char *key, size_t key_size, mw_span s) {
    if (!s.size) return at;
    at = put_parameter_key(at, key, key_size, mw_field_size(s.size));
    return mw_put_bytes(at, PARAMETER_STRING, s.data, s.size);
}

static uint8_t *put_bool_parameter(uint8_t *at, const char *key, size_t key_size, uint8_t value) {
    at = put_parameter_key(at, key, key_size, 2);
    return mw_put_number(at, PARAMETER_BOOL, value);
}

static uint8_t *put_parameters(uint8_t *at, const mw_reply *r) {
    at = put_string_parameter(at, key_fallback, KEY_SIZE(key_fallback), r->fallback);
    at = put_string_parameter(at, key_fallback_source, KEY_SIZE(key_fallback_source), r->fallback_source);
    at = put_string_parameter(at, key_restricted, KEY_SIZE(key_restricted), r->restricted);
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
    for (uint32_t i = 0; i < o->rank; i++) size += mw_varint_size(dimension(o, i));
    return size;
}

static size_t output_size(const mw_reply_output *o) {
    return string_size(o->name.size) + string_size(strlen(mw_dtype_name(o->dtype))) + string_size(shape_size(o));
}

static uint8_t *put_output(uint8_t *at, const mw_reply_output *o) {
    const char *datatype = mw_dtype_name(o->dtype);
    at = mw_put_header(at, 5, output_size(o));
    at = put_string(at, 1, o->name);
    at = mw_put_bytes(at, 2, datatype, strlen(datatype));
    if (o->rank) {
        at = mw_put_header(at, 3, shape_size(o));
        for (uint32_t i = 0; i < o->rank; i++) at = mw_put_varint(at, dimension(o, i));
    }
    return at;
}

/* ---- the message ---- */

size_t mw_oip_reply_size(const mw_reply *r) {
    size_t size = string_size(r->model_name.size) + string_size(r->model_version.size) + string_size(r->id.size) +
                  parameters_size(r);
    for (uint32_t i = 0; i < r->outputs; i++)
        size += mw_field_size(output_size(&r->output[i])) + mw_field_size(r->output[i].raw.size);
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
        at = mw_put_header(at, 6, raw.size);
        if (where) where[i] = at;
        if (raw.data && raw.size) memcpy(at, raw.data, raw.size);
        at += raw.size;
    }
    return (size_t)(at - to);
}
