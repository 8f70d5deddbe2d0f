/* inference.ModelInferRequest and ModelInferResponse scanned in place, ModelInferResponse written.
 *
 * The scanner accepts exactly what protobuf's own parser (upb) accepts (unknown fields, packed and unpacked repeats,
 * last-one-wins scalars, wrong wire types as unknown fields, groups, UTF-8 in string fields) and copies nothing:
 * every span points into the message, which must outlive the scan result.
 *
 * Two deliberate differences. More tensors or dimensions than the tables hold are refused. And a parameter whose map
 * entry also holds an unknown field counts, as in the C++, Go and Java parsers; upb alone hides such an entry, and
 * what a backend behind us would obey must not be hidden from us. */
#ifndef MODELWARD_OIP_H
#define MODELWARD_OIP_H

#include "tensor.h"

typedef enum {
    MW_SCAN_OK = 0,
    MW_SCAN_MALFORMED,        /* not a protobuf message of this type */
    MW_SCAN_TOO_MANY_INPUTS,  /* more than MW_MAX_TENSORS inputs or raw contents */
    MW_SCAN_TOO_MANY_OUTPUTS, /* more than MW_MAX_TENSORS requested outputs */
    MW_SCAN_RANK,             /* more than MW_MAX_RANK dimensions */
    MW_SCAN_TOO_LARGE,        /* an answer whose fields other than raw contents are larger than the reader said */
} mw_scan_status;

/* What an answer on a stream says of itself. */
typedef struct {
    mw_span id; /* of the request that it answers; empty: not said */
    int final;  /* parameter "triton_final_response": 1 or 0; -1: not said */
} mw_stream_answer;

/* Fields of InferTensorContents, by field number. */
enum {
    MW_CONTENTS_BOOL = 1,
    MW_CONTENTS_INT,
    MW_CONTENTS_INT64,
    MW_CONTENTS_UINT,
    MW_CONTENTS_UINT64,
    MW_CONTENTS_FP32,
    MW_CONTENTS_FP64,
    MW_CONTENTS_BYTES,
    MW_CONTENTS_KINDS
};

typedef struct {
    mw_span name;
    mw_span datatype;
    int64_t shape[MW_MAX_RANK];
    uint32_t rank;
    uint8_t shared_memory;   /* a parameter named shared_memory_* is present */
    uint16_t contents_kinds; /* bit k set: field k of InferTensorContents holds at least one element */
    uint8_t has_contents;    /* the contents message is present, even if empty */
    mw_span self;            /* the InferInputTensor message, for mw_oip_contents */
    uint64_t contents_count[MW_CONTENTS_KINDS]; /* elements per field */
    uint64_t contents_bytes;                    /* total length of bytes_contents elements, without length prefixes */
} mw_scan_input;

typedef struct {
    mw_span name;
    uint8_t shared_memory;
    uint8_t classification; /* Triton's classification extension is asked for: the parameter is there and not 0 */
} mw_scan_output;

/* 256 inputs x ~300 bytes: one per process, reused for every message; never on a coroutine's or a thread's stack. */
typedef struct {
    mw_span model_name, model_version, id;
    uint32_t inputs, outputs, raws;
    mw_scan_input input[MW_MAX_TENSORS];
    mw_scan_output output[MW_MAX_TENSORS];
    mw_span raw[MW_MAX_TENSORS];
    int64_t timeout_us;       /* parameter "timeout" (int64, uint64, or a string of digits; saturates); 0 when absent */
    uint64_t priority;        /* parameter "priority" (likewise); 0 when absent */
    uint8_t timeout_invalid;  /* "timeout" is there but negative or not a whole number; timeout_us is then 0 */
    uint8_t priority_invalid; /* "priority" likewise */
    uint8_t sequence;         /* a sequence_id other than 0 or "" is present */
    uint8_t
        shares; /* mw_oip_scan_envelope alone: a tensor is in shared memory, or may be: it is malformed and says so */
} mw_scan;

/* One pass; never reads outside message, never allocates, never recurses. The first fault found ends it, and only after
 * MW_SCAN_OK is anything in out worth reading; entries past the counts are never initialised. */
mw_scan_status mw_oip_scan(mw_span message, mw_scan *out);

/* The same of a ModelInferResponse. Its outputs have an input's fields, number for number, and stand in out->input; its raw
 * contents in out->raw; of its parameters nothing is kept. Whatever the message's size, no more than `most` bytes (and one
 * tag) outside of raw contents are read, each once: an answer that would take more is MW_SCAN_TOO_LARGE. */
mw_scan_status mw_oip_scan_answer(mw_span message, size_t most, mw_scan *out);

/* One tensor of either, an InferInputTensor or InferOutputTensor. */
mw_scan_status mw_oip_scan_tensor(mw_span message, mw_scan_input *out);

/* Only name, version, id, parameters and whether tensors are in shared memory, for requests that are passed on undecoded:
 * walks the outermost fields and leaves out's tensors at none. A parameter that is malformed is passed over: its receiver
 * may refuse it. Returns 0 if the outermost fields, or one of the three strings, are malformed. */
int mw_oip_scan_envelope(mw_span message, mw_scan *out);

/* Only model_name and model_version (last one wins; empty when absent): walks the outermost fields and checks only those.
 * The version may be no UTF-8. Returns 0 if they are malformed. */
int mw_oip_names(mw_span message, mw_span *name, mw_span *version);

/* Of a message's first bytes: the first field that is a model_name, and the version if it comes next and whole. Returns 0 where
 * there is no name in them. */
int mw_oip_first_names(mw_span piece, mw_span *name, mw_span *version);

/* The raw form of typed contents: bytes needed (SIZE_MAX on overflow), then the conversion into exactly that many.
 * dtype says which field is meant: BOOL bool_contents; INT8, INT16, INT32 int_contents; INT64 int64_contents;
 * UINT8, UINT16, UINT32 uint_contents; UINT64 uint64_contents; FP32 fp32_contents; FP64 fp64_contents; BYTES bytes_contents.
 * FP16 and BF16 have no typed form (mw_oip_contents_kind returns 0, and the size is 0).
 * Elements of other fields are skipped: a caller that allows only one kind checks contents_kinds.
 * Returns 0, or -1 if a value does not fit the datatype (300 for INT8) or size is not what mw_oip_contents_size said. */
int mw_oip_contents_kind(mw_dtype dtype);
size_t mw_oip_contents_size(const mw_scan_input *in, mw_dtype dtype);
int mw_oip_contents(const mw_scan_input *in, mw_dtype dtype, uint8_t *to, size_t size);
/* The raw form of at most the first `elements` of them, in at most `size` bytes. Returns the bytes written: fewer than those
 * elements have where there are fewer, one does not fit the datatype, or size is too small. */
size_t mw_oip_contents_start(const mw_scan_input *in, mw_dtype dtype, uint64_t elements, uint8_t *to, size_t size);

/* Checks a raw BYTES tensor: exactly `elements` length-prefixed strings fill it. Returns 1 if so. */
int mw_oip_bytes_valid(mw_span raw, int64_t elements);

/* Product of dimensions (1 for rank 0); -1 for a negative dimension, or where the product of the dimensions that are not
 * zero would pass 2^59, so that no byte count passes 2^62. A zero hides no overflow: [2^40, 2^40, 0] is -1. */
int64_t mw_oip_elements(const int64_t *shape, uint32_t rank);

/* ---- writing ModelInferResponse: sizes first, then bytes into memory the caller provides ---- */

typedef struct {
    mw_span name;
    mw_dtype dtype;
    uint32_t rank;        /* not more than MW_MAX_RANK */
    const int64_t *shape; /* borrowed until the reply is written */
    int64_t rows;         /* dimension 0 in place of shape's; -1: shape's own */
    mw_span raw;          /* elements in raw form; where only the place is wanted, data is NULL and size is set */
} mw_reply_output;

typedef struct {
    mw_span model_name, model_version, id;
    mw_span fallback,
        fallback_source;  /* parameters modelward_fallback, modelward_fallback_source; absent when size is 0 */
    mw_span restricted;   /* parameter modelward_restricted; likewise */
    double anomaly_score; /* parameter modelward_anomaly_score */
    uint8_t has_anomaly_score;
    uint8_t anomaly, has_anomaly; /* parameter modelward_anomaly */
    uint8_t final_response;       /* parameter triton_final_response: true */
    uint32_t outputs;
    const mw_reply_output *output; /* borrowed */
} mw_reply;

/* Bytes of the encoded message. Strings must be UTF-8: they are the caller's own. */
size_t mw_oip_reply_size(const mw_reply *r);
/* Writes exactly that many bytes; where[i] (may be NULL) receives the place of output i's raw bytes within `to`,
 * so that an output whose raw.data is NULL can be gathered there afterwards. Returns the bytes written. */
size_t mw_oip_reply_write(const mw_reply *r, uint8_t *to, uint8_t **where);
/* Reads ModelStreamInferResponse, or a plain ModelInferResponse, which some servers answer a stream with. What cannot be read
 * says nothing. */
void mw_oip_stream_answer(mw_span message, mw_stream_answer *out);

/* The ModelInferResponse in the same; empty where there is none, as in an error. 0: there are several, or it cannot be read. */
int mw_oip_stream_response(mw_span message, mw_span *response);

#endif
