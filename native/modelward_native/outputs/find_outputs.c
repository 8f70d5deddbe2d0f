#include "find_outputs.h"

#include "oip_parameter.h"
#include "output_index.h"

/* The elements of a tensor with typed contents of one kind: NULL where they are not those of one packed field. */
static const uint8_t *packed_elements(mw_span tensor, uint32_t kind, size_t size) {
    mw_cursor outer = mw_cursor_over(tensor);
    while (outer.at < outer.end) {
        uint32_t tag;
        mw_span contents, packed;
        if (!mw_read_tag(&outer, &tag)) return NULL;
        if (tag != MW_TAG(5, MW_WIRE_LEN)) {
            if (!mw_skip(&outer, tag, DEPTH_TENSOR)) return NULL;
            continue;
        }
        if (!mw_read_bytes(&outer, &contents)) return NULL;
        mw_cursor inner = mw_cursor_over(contents);
        while (inner.at < inner.end) {
            if (!mw_read_tag(&inner, &tag)) return NULL;
            if (tag == MW_TAG(kind, MW_WIRE_LEN)) {
                if (!mw_read_bytes(&inner, &packed)) return NULL;
                if (packed.size == size) return packed.data;
            } else if (!mw_skip(&inner, tag, DEPTH_CONTENTS)) {
                return NULL;
            }
        }
    }
    return NULL;
}

/* Its typed elements; 0 where they are not as declared, or have no place. */
static int take_contents(const mw_scan_input *tensor, mw_dtype dtype, mw_found_output *found, mw_spare_bytes *spare) {
    uint32_t kind = (uint32_t)mw_oip_contents_kind(dtype);
    size_t size = found->elements * mw_dtype_size(dtype);
    if (!kind || tensor->contents_kinds != 1u << kind || tensor->contents_count[kind] != found->elements) return 0;
    if (dtype == MW_FP32 || dtype == MW_FP64) {
        found->data = (uint8_t *)packed_elements(tensor->self, kind, size);
        return found->data != NULL;
    }
    if (!spare || size > spare->size - spare->used) return 0;
    found->data = spare->data + spare->used;
    found->in_spare = 1;
    spare->used += size;
    return mw_oip_contents(tensor, dtype, found->data, size) == 0;
}

/* The tensor of a name that is asked for; its raw contents come later. */
static void take_tensor(const mw_scan_input *tensor, const mw_declared_output *declared, mw_found_output *found,
                        mw_spare_bytes *spare) {
    found->state = MW_OUTPUT_UNREADABLE;
    int64_t elements = mw_oip_elements(tensor->shape, tensor->rank);
    if (elements < 0 || tensor->shared_memory) return;
    if (!mw_same_text(tensor->datatype, (mw_span){(const uint8_t *)mw_dtype_name(declared->dtype),
                                                  strlen(mw_dtype_name(declared->dtype))}))
        return;
    found->rank = tensor->rank;
    memcpy(found->shape, tensor->shape, tensor->rank * sizeof tensor->shape[0]);
    found->elements = (uint64_t)elements;
    found->data = NULL;
    found->in_spare = 0;
    if (tensor->contents_kinds && !take_contents(tensor, declared->dtype, found, spare)) return;
    found->state = MW_OUTPUT_FOUND;
}

/* The name that a tensor begins with, where it begins with one; the cursor is then behind it. */
static int first_name(mw_cursor *tensor, mw_span *name) {
    uint32_t tag;
    return mw_read_tag(tensor, &tag) && tag == MW_TAG(1, MW_WIRE_LEN) && mw_read_bytes(tensor, name);
}

static int is_name_of(mw_dtype dtype, mw_span text) {
    const char *name = mw_dtype_name(dtype);
    size_t i = 0;
    while (i < text.size && name[i] && name[i] == (char)text.data[i]) i++;
    return i == text.size && !name[i];
}

/* A tensor whose contents are raw, as servers write it: behind its name lie its datatype and its shape, and nothing more. 0: it
 * is otherwise, and to be scanned. */
static int take_plain(mw_cursor c, const mw_declared_output *declared, mw_found_output *found) {
    mw_span datatype, shape;
    uint32_t tag, rank = 0;
    uint64_t dimension;
    if (!mw_read_tag(&c, &tag) || tag != MW_TAG(2, MW_WIRE_LEN) || !mw_read_bytes(&c, &datatype)) return 0;
    if (!mw_read_tag(&c, &tag) || tag != MW_TAG(3, MW_WIRE_LEN) || !mw_read_bytes(&c, &shape)) return 0;
    if (c.at != c.end || !is_name_of(declared->dtype, datatype)) return 0;
    mw_cursor dimensions = mw_cursor_over(shape);
    while (dimensions.at < dimensions.end) {
        if (rank == MW_MAX_RANK || !mw_read_varint(&dimensions, &dimension)) return 0;
        found->shape[rank++] = (int64_t)dimension;
    }
    int64_t elements = mw_oip_elements(found->shape, rank);
    if (elements < 0) return 0;
    found->state = MW_OUTPUT_FOUND;
    found->rank = rank;
    found->elements = (uint64_t)elements;
    found->data = NULL;
    found->in_spare = 0;
    return 1;
}

static void forget(mw_found_output *found, uint32_t count, mw_output_state state) {
    for (uint32_t i = 0; i < count; i++) found[i].state = (uint8_t)state;
}

int mw_find_outputs(uint8_t *message, size_t size, const mw_declared_output *declared, uint32_t count,
                    mw_found_output *found, mw_spare_bytes *spare) {
    mw_cursor c = mw_cursor_over((mw_span){message, size});
    mw_span raw[MW_MAX_TENSORS]; /* 4 KB of stack, of which what is used is touched */
    uint32_t place[MW_FIND_OUTPUTS], tensors = 0, raws = 0, next = 0;
    mw_scan_input tensor;
    forget(found, count, MW_OUTPUT_ABSENT);
    while (c.at < c.end) {
        uint32_t tag;
        mw_span field, name;
        if (!mw_read_tag(&c, &tag)) goto malformed;
        if (tag == MW_TAG(6, MW_WIRE_LEN)) {
            if (raws == MW_MAX_TENSORS || !mw_read_bytes(&c, &raw[raws++])) goto malformed;
        } else if (tag == MW_TAG(5, MW_WIRE_LEN)) {
            if (tensors == MW_MAX_TENSORS || !mw_read_bytes(&c, &field)) goto malformed;
            mw_cursor rest = mw_cursor_over(field);
            uint32_t i = count;
            int is_first = first_name(&rest, &name);
            if (is_first) i = mw_output_index(name, declared, count, next);
            if (i < count && found[i].state == MW_OUTPUT_ABSENT && take_plain(rest, &declared[i], &found[i])) {
                place[i] = tensors;
                next = i + 1;
            } else if (i < count || !is_first) {
                if (mw_oip_scan_tensor(field, &tensor) != MW_SCAN_OK) goto malformed;
                i = mw_output_index(tensor.name, declared, count, next); /* the last name of several counts */
                if (i < count) {
                    int again = found[i].state != MW_OUTPUT_ABSENT;
                    take_tensor(&tensor, &declared[i], &found[i], spare);
                    if (again) found[i].state = MW_OUTPUT_UNREADABLE;
                    place[i] = tensors;
                    next = i + 1;
                }
            }
            tensors++;
        } else if (!mw_skip(&c, tag, DEPTH_REQUEST)) {
            goto malformed;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        mw_found_output *f = &found[i];
        if (f->state != MW_OUTPUT_FOUND) continue;
        if (raws) { /* a server writes all outputs raw, or none */
            int fits =
                !f->data && raws == tensors && raw[place[i]].size == f->elements * mw_dtype_size(declared[i].dtype);
            if (fits) f->data = (uint8_t *)raw[place[i]].data;
            else f->state = MW_OUTPUT_UNREADABLE;
        } else if (!f->data && f->elements) {
            f->state = MW_OUTPUT_UNREADABLE;
        }
    }
    return 1;
malformed:
    forget(found, count, MW_OUTPUT_UNREADABLE);
    return 0;
}
