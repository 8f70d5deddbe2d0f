/* From a request's tensors to standardised rows: datatypes, reductions of long inputs, categories. */
#include <math.h>

#include "score.h"

enum { CHUNK = 64 }; /* elements converted at once */

static double half(uint16_t bits) {
    const uint32_t exponent = (bits >> 10) & 31, fraction = bits & 1023;
    const double sign = bits & 0x8000 ? -1.0 : 1.0;
    if (exponent == 31) return fraction ? (double)NAN : sign * (double)INFINITY;
    return sign * (exponent ? ldexp(1024 + fraction, (int)exponent - 25) : ldexp(fraction, -24));
}

static double brain(uint16_t bits) {
    const uint32_t wide = (uint32_t)bits << 16;
    float f;
    memcpy(&f, &wide, 4);
    return (double)f;
}

#define CONVERT(type, value)                               \
    for (int64_t i = 0; i < n; i++) {                      \
        type v;                                            \
        memcpy(&v, from + (size_t)i * sizeof v, sizeof v); \
        to[i] = (double)(value);                           \
    }                                                      \
    return

/* n elements from raw bytes at any alignment; the caller has checked that they are there. */
static void load(mw_dtype dtype, const uint8_t *from, int64_t n, double *to) {
    switch (dtype) {
        case MW_BOOL: CONVERT(uint8_t, v != 0);
        case MW_UINT8: CONVERT(uint8_t, v);
        case MW_UINT16: CONVERT(uint16_t, v);
        case MW_UINT32: CONVERT(uint32_t, v);
        case MW_UINT64: CONVERT(uint64_t, v);
        case MW_INT8: CONVERT(int8_t, v);
        case MW_INT16: CONVERT(int16_t, v);
        case MW_INT32: CONVERT(int32_t, v);
        case MW_INT64: CONVERT(int64_t, v);
        case MW_FP16: CONVERT(uint16_t, half(v));
        case MW_BF16: CONVERT(uint16_t, brain(v));
        case MW_FP32: CONVERT(float, v);
        case MW_FP64: CONVERT(double, v);
        default: CONVERT(uint8_t, NAN); /* not numeric: mw_gather_begin lets none of them here */
    }
}

void mw_score_standardise(const mw_profile *p, int32_t first, int32_t n, const double *value, float *row) {
    const double *mean = p->mean + first, *inverse = p->inverse_scale + first;
    for (int32_t i = 0; i < n; i++) {
        double z = (value[i] - mean[i]) * inverse[i];
        z = z > 1e30 ? 1e30 : z < -1e30 ? -1e30 : z;
        row[i] = value[i] - value[i] == 0.0 ? (float)z : NAN; /* not 0 for NaN and for both infinities */
    }
}

/* Mean and population deviation of n >= 1 elements. Sums are of differences from the first element, so that a large
 * common part costs no digits, and run in lanes of their own, so that they need no order. */
static void summarise(mw_dtype dtype, const uint8_t *from, int64_t n, double *mean, double *deviation) {
    enum { LANES = 8 };
    const size_t size = mw_dtype_size(dtype);
    double sum[LANES] = {0}, square[LANES] = {0}, chunk[CHUNK], base;
    load(dtype, from, 1, &base);
    for (int64_t at = 0; at < n; at += CHUNK) {
        const int64_t here = n - at < CHUNK ? n - at : CHUNK;
        load(dtype, from + (size_t)at * size, here, chunk);
        for (int64_t i = here; i < CHUNK; i++) chunk[i] = base;
        for (int i = 0; i < CHUNK; i += LANES)
            for (int l = 0; l < LANES; l++) {
                const double d = chunk[i + l] - base;
                sum[l] += d;
                square[l] += d * d;
            }
    }
    double s = 0.0, q = 0.0;
    for (int l = 0; l < LANES; l++) {
        s += sum[l];
        q += square[l];
    }
    s /= (double)n;
    const double variance = q / (double)n - s * s;
    *mean = base + s;
    *deviation = variance > 0.0 ? sqrt(variance) : variance <= 0.0 ? 0.0 : NAN;
}

static void blocks(const mw_profile *p, const mw_profile_input *in, mw_dtype dtype, const uint8_t *from, int64_t n,
                   float *row) {
    double value[2 * MW_SCORE_FIXED_BLOCKS + 1] = {0};
    const int32_t count = in->kind == MW_INPUT_BLOCKS ? MW_SCORE_FIXED_BLOCKS : MW_SCORE_VARYING_BLOCKS;
    const size_t size = mw_dtype_size(dtype);
    const int64_t whole = n / count, rest = n % count;
    for (int32_t b = 0; b < count && n > 0; b++) {
        /* b * n / count without the product; where there are fewer elements than blocks, blocks share elements. */
        const int64_t begin = b * whole + b * rest / count;
        const int64_t end = (b + 1) * whole + (b + 1) * rest / count;
        summarise(dtype, from + (size_t)begin * size, end > begin ? end - begin : 1, value + 2 * b, value + 2 * b + 1);
    }
    if (in->kind == MW_INPUT_VARYING) value[2 * count] = log1p((double)n);
    mw_score_standardise(p, in->first, in->width, value, row + in->first);
}

static uint64_t hash(mw_span s) { /* FNV-1a: only the profile puts words into the table */
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < s.size; i++) h = (h ^ s.data[i]) * 0x100000001b3u;
    return h;
}

void mw_score_index(const mw_profile_column *c, uint32_t *slot, const uint64_t *word, const uint8_t *text,
                    uint32_t first, uint32_t words) {
    for (uint32_t w = first; w < first + words; w++) {
        uint32_t i = (uint32_t)hash((mw_span){text + word[w], (size_t)(word[w + 1] - word[w])});
        while (slot[c->first_slot + (i & c->mask)]) i++;
        slot[c->first_slot + (i & c->mask)] = w + 1;
    }
}

int mw_score_known(const mw_profile *p, int32_t column, mw_span element) {
    const mw_profile_column *c = p->column + column;
    if (c->open) return 1;
    if (element.size > c->longest) return 0;
    for (uint32_t i = (uint32_t)hash(element);; i++) {
        const uint32_t slot = p->slot[c->first_slot + (i & c->mask)];
        if (slot == 0) return 0;
        const uint64_t begin = p->word[slot - 1], end = p->word[slot];
        if (end - begin == element.size && memcmp(p->text + begin, element.data, element.size) == 0) return 1;
    }
}

/* Elements of one row of BYTES from *cursor on; -1 where one leaves the tensor. */
static int categories(const mw_profile *p, const mw_profile_input *in, mw_span raw, int64_t n, size_t *cursor,
                      float *to) {
    for (int32_t c = 0; c < in->width; c++) to[c] = 0.0f;
    for (int64_t i = 0; i < n; i++) {
        uint32_t length;
        if (raw.size - *cursor < sizeof length) return -1;
        memcpy(&length, raw.data + *cursor, sizeof length);
        *cursor += sizeof length;
        if (raw.size - *cursor < length) return -1;
        const int32_t c = in->kind == MW_INPUT_CATEGORIES ? (int32_t)i : 0;
        if (!mw_score_known(p, in->first + c, (mw_span){raw.data + *cursor, length})) to[c] = 1.0f;
        *cursor += length;
    }
    return 0;
}

int mw_gather_begin(mw_gather *g, const mw_profile *p, const mw_view *view, int64_t rows) {
    *g = (mw_gather){.profile = p, .view = view, .rows = rows};
    if (rows < 0) return -1;
    for (int32_t i = 0; i < p->inputs; i++) {
        const mw_profile_input *in = p->input + i;
        const mw_view *v = view + i;
        const int text = in->kind == MW_INPUT_CATEGORIES || in->kind == MW_INPUT_WORDS;
        const size_t size = mw_dtype_size(v->dtype);
        if (text ? v->dtype != MW_BYTES : size == 0) return -1;
        if (v->elements < 0 || (rows == 0 ? v->elements != 0 : v->elements % rows != 0)) return -1;
        if (rows > 0 && in->elements >= 0 && v->elements / rows != in->elements) return -1;
        if (!text && (uint64_t)v->elements > v->raw.size / size) return -1;
    }
    return 0;
}

int mw_gather_row(mw_gather *g, float *row) {
    const mw_profile *p = g->profile;
    if (g->next >= g->rows) return 0;
    for (int32_t i = 0; i < p->inputs; i++) {
        const mw_profile_input *in = p->input + i;
        const mw_view *v = g->view + i;
        const int64_t n = v->elements / g->rows;
        if (v->dtype == MW_BYTES) {
            if (categories(p, in, v->raw, n, g->cursor + i, row + p->features + in->first) < 0) return -1;
            continue;
        }
        const uint8_t *from = v->raw.data + (size_t)g->next * (size_t)n * mw_dtype_size(v->dtype);
        if (in->kind != MW_INPUT_VALUES) {
            blocks(p, in, v->dtype, from, n, row);
            continue;
        }
        double chunk[CHUNK];
        for (int64_t at = 0; at < n; at += CHUNK) {
            const int64_t here = n - at < CHUNK ? n - at : CHUNK;
            load(v->dtype, from + (size_t)at * mw_dtype_size(v->dtype), here, chunk);
            const int32_t first = in->first + (int32_t)at;
            mw_score_standardise(p, first, (int32_t)here, chunk, row + first);
        }
    }
    g->next++;
    return 1;
}
