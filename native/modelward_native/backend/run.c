#include "run.h"

#include <stdlib.h>
#include <string.h>

#include "budget.h"
#include "clock.h"
#include "note.h"

enum { KEEP = 1 << 20 }; /* gathered bytes kept between runs */

int mw_run_init(mw_run *run, mw_session *s) {
    char error[MW_ERROR_TEXT];
    memset(run, 0, sizeof *run);
    run->session = s;
    run->in = calloc(s->inputs + 1, sizeof *run->in);
    run->out = calloc(s->outputs, sizeof *run->out);
    run->in_value = calloc(s->inputs + 1, sizeof *run->in_value);
    run->out_value = calloc(s->outputs, sizeof *run->out_value);
    if (!run->in || !run->out || !run->in_value || !run->out_value) return -1;
    return mw_ort_failed(s->api, ort_create_run_options(s->api, &run->options), error);
}

void mw_run_destroy(mw_run *run) {
    if (!run->session) return;
    mw_run_release(run);
    for (uint32_t i = 0; run->in && i < run->session->inputs; i++) {
        free(run->in[i].data);
        free(run->in[i].element);
    }
    if (run->options) ort_release_run_options(run->session->api, run->options);
    free(run->in);
    free(run->out);
    free(run->in_value);
    free(run->out_value);
    memset(run, 0, sizeof *run);
}

int mw_run_reserve(mw_run *run, uint32_t i, size_t size, size_t elements) {
    mw_run_input *in = &run->in[i];
    in->size = size;
    in->elements = elements;
    if (size > in->capacity || !in->data) {
        size_t capacity = (size + 4095) & ~(size_t)4095;
        if (capacity == 0) capacity = 4096; /* an empty tensor still needs an address */
        free(in->data);
        in->data = aligned_alloc(64, capacity);
        in->capacity = in->data ? capacity : 0;
        if (!in->data) return -1;
    }
    if (elements > in->element_capacity) {
        free(in->element);
        in->element = malloc(elements * sizeof *in->element);
        in->element_capacity = in->element ? elements : 0;
        if (!in->element) return -1;
    }
    return 0;
}

static int make_strings(mw_run *run, mw_run_input *in, uint32_t rank, OrtValue **value) {
    const OrtApi *a = run->session->api;
    if (mw_ort_failed(a, ort_create_tensor(a, run->session->allocator, in->shape, rank, ORT_STRING, value), run->error))
        return -1;
    for (size_t k = 0; k < in->elements; k++) {
        char *to = NULL;
        if (mw_ort_failed(a, ort_string_element(a, *value, k, in->element[k].size, &to), run->error)) return -1;
        if (in->element[k].size) memcpy(to, in->element[k].data, in->element[k].size);
    }
    return 0;
}

static int read_strings(mw_run *run, mw_run_output *out) {
    const OrtApi *a = run->session->api;
    size_t length = 0;
    if (mw_ort_failed(a, ort_strings_length(a, out->value, &length), run->error)) return -1;
    out->text = malloc(length ? length : 1);
    out->offset = malloc((out->elements + 1) * sizeof *out->offset);
    if (!out->text || !out->offset) return -1;
    if (out->elements &&
        mw_ort_failed(a, ort_strings_content(a, out->value, out->text, length, out->offset, out->elements), run->error))
        return -1;
    out->offset[out->elements] = length;
    return 0;
}

static int read_output(mw_run *run, uint32_t i) {
    const OrtApi *a = run->session->api;
    mw_run_output *out = &run->out[i];
    OrtTensorInfo *info = NULL;
    size_t rank = 0;
    void *data = NULL;
    out->value = run->out_value[i];
    run->out_value[i] = NULL;
    if (!out->value) {
        snprintf(run->error, MW_ERROR_TEXT, "output '%s' was not produced", run->session->output[i].name);
        return -1;
    }
    if (mw_ort_failed(a, ort_value_info(a, out->value, &info), run->error)) return -1;
    int bad = mw_ort_failed(a, ort_rank(a, info, &rank), run->error);
    if (!bad && rank > MW_MAX_RANK) {
        snprintf(run->error, MW_ERROR_TEXT, "output '%s' has %zu dimensions", run->session->output[i].name, rank);
        bad = -1;
    }
    if (!bad && rank) bad = mw_ort_failed(a, ort_dimensions(a, info, out->shape, rank), run->error);
    ort_release_tensor_info(a, info);
    if (bad) return -1;
    out->rank = (uint32_t)rank;
    out->elements = 1;
    for (size_t k = 0; k < rank; k++) out->elements *= (size_t)out->shape[k];
    mw_dtype dtype = run->session->output[i].dtype;
    if (dtype == MW_BYTES) return read_strings(run, out);
    if (mw_ort_failed(a, ort_tensor_data(a, out->value, &data), run->error)) return -1;
    out->data = data;
    out->size = out->elements * mw_dtype_size(dtype);
    return 0;
}

static void begin_note(mw_run *run) {
    mw_note *note = run->note;
    uint32_t n = 0;
    for (uint32_t i = 0; i < run->session->inputs; i++)
        for (uint32_t k = 0; k < run->session->input[i].rank && n < MW_NOTE_DIMS; k++) {
            int64_t length = run->in[i].shape[k];
            note->dim[n++] = k == 0 && note->any_rows && length > 0 ? -1 : length;
        }
    mw_note_begin(note, run->session->number, n);
}

void mw_run_here(mw_run *run) {
    mw_session *s = run->session;
    const OrtApi *a = s->api;
    int64_t started = mw_now_ns();
    int bad = 0;
    run->failed = 0;
    run->error[0] = 0;
    if (run->note) begin_note(run);
    mw_budget_begin(run->budget);
    for (uint32_t i = 0; i < s->inputs && !bad; i++) {
        mw_run_input *in = &run->in[i];
        mw_declared *d = &s->input[i];
        bad = d->dtype == MW_BYTES ? make_strings(run, in, d->rank, &run->in_value[i])
                                   : mw_ort_failed(a,
                                                   ort_create_tensor_over(a, s->memory, in->data, in->size, in->shape,
                                                                          d->rank, d->element_type, &run->in_value[i]),
                                                   run->error);
    }
    if (!bad)
        bad = mw_ort_failed(a,
                            ort_run(a, s->session, run->options, s->input_name, (const OrtValue *const *)run->in_value,
                                    s->inputs, s->output_name, s->outputs, run->out_value),
                            run->error);
    run->peak = mw_budget_end(&run->over_budget);
    for (uint32_t i = 0; i < s->inputs; i++)
        if (run->in_value[i]) {
            ort_release_value(a, run->in_value[i]);
            run->in_value[i] = NULL;
        }
    for (uint32_t i = 0; i < s->outputs && !bad; i++) bad = read_output(run, i);
    for (uint32_t i = 0; i < s->outputs; i++)
        if (run->out_value[i]) {
            ort_release_value(a, run->out_value[i]);
            run->out_value[i] = NULL;
        }
    if (run->note)
        mw_note_end(
            run->note); /* a kernel that has written too far may be noticed only when its tensors are given back */
    if (bad && !run->error[0]) snprintf(run->error, MW_ERROR_TEXT, "out of memory");
    run->failed = bad != 0;
    run->took_ns = mw_now_ns() - started;
}

void mw_run_release(mw_run *run) {
    for (uint32_t i = 0; run->out && i < run->session->outputs; i++) {
        mw_run_output *out = &run->out[i];
        if (out->value) ort_release_value(run->session->api, out->value);
        free(out->text);
        free(out->offset);
        memset(out, 0, sizeof *out);
    }
    for (uint32_t i = 0; run->in && i < run->session->inputs; i++) {
        mw_run_input *in = &run->in[i];
        if (in->capacity > KEEP) {
            free(in->data);
            in->data = NULL;
            in->capacity = 0;
        }
        if (in->element_capacity > KEEP / sizeof *in->element) {
            free(in->element);
            in->element = NULL;
            in->element_capacity = 0;
        }
    }
}

void mw_run_terminate(mw_run *run, int on) {
    char error[MW_ERROR_TEXT];
    const OrtApi *a = run->session->api;
    mw_ort_failed(a, on ? ort_set_terminate(a, run->options) : ort_unset_terminate(a, run->options), error);
}
