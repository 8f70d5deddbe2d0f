"""Inference requests that have ended, sampled: a ring of fixed size, written without waiting and taken a few times a second.

It holds no tensor and no credential.
"""
from libc.stdint cimport UINT64_MAX, int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

import os

from modelward_native.detect.suspicion import STEPS

from modelward_native.request.exchange cimport Exchange
from modelward_native.request.tensor cimport mw_span
from modelward_native.request.verdict cimport CODE_OK, REASON_NONE, Verdict, code_of
from modelward_native.stages.stage cimport Result
from modelward_native.wire.types cimport METHOD_STREAM_INFER, Stream


cdef int begin_access_log(AccessLog *log, double share) except -1:
    """share: of requests that are kept, above 0."""
    log.random = int.from_bytes(os.urandom(8)) | 1
    log.chosen = UINT64_MAX if share >= 1 else <uint64_t>(share * 2.0 ** 64)
    if log.ring == NULL:
        log.ring = <AccessEntry *>calloc(ACCESS_ENTRIES, sizeof(AccessEntry))
    if log.ring == NULL:
        raise MemoryError
    return 0


cdef void end_access_log(AccessLog *log) noexcept:
    free(log.ring)
    log.ring = NULL


cdef AccessEntry *next_entry(AccessLog *log) noexcept:
    """NULL where there is no room."""
    cdef AccessEntry *e
    if log.written - log.read >= ACCESS_ENTRIES:
        log.dropped += 1
        return NULL
    e = &log.ring[log.written % ACCESS_ENTRIES]
    log.written += 1
    return e


cdef void keep_text(AccessEntry *e, AccessText which, const void *data, size_t size) noexcept:
    e.size[<int>which] = min(size, <size_t>ACCESS_TEXT)
    if e.size[<int>which]:        # an empty span may point nowhere
        memcpy(e.text[<int>which], data, e.size[<int>which])


cdef void keep_caller(AccessEntry *e, const Stream *s) noexcept:
    """s: NULL once the client has let go; then nothing is known of it any more."""
    cdef bint known = s != NULL and s.caller != NULL and s.caller.name != NULL
    e.traced = s != NULL and s.traced
    if e.traced:
        memcpy(e.trace, s.trace, sizeof(e.trace))
    e.proof = s.caller.kind if known else NULL
    keep_text(e, TEXT_IDENTITY, s.caller.name if known else NULL, s.caller.name_size if known else 0)


cdef void keep_access(AccessLog *log, const Exchange *x, const Result *r, int64_t now) noexcept:
    cdef AccessEntry *e = next_entry(log)
    cdef mw_span empty
    if e == NULL:
        return
    empty.data = NULL
    empty.size = 0
    e.at = now
    e.took = now - x.entered
    e.request_bytes = x.body.size
    e.reply_bytes = x.reply.size
    e.status = r.status
    e.reason = REASON_NONE if r.status == CODE_OK else r.reason
    e.fallback_reason = x.fallback_reason if r.answer != NULL else REASON_NONE
    e.scored = x.asked != NULL and x.asked.profile != NULL
    e.score = x.score
    e.flagged = x.flagged
    e.step = x.step
    e.streaming = x.streaming
    keep_caller(e, x.stream)
    cdef mw_span model = x.asked.name if x.asked != NULL else empty
    cdef mw_span version = x.asked.version if x.asked != NULL else empty
    keep_text(e, TEXT_MODEL, model.data, model.size)
    keep_text(e, TEXT_VERSION, version.data, version.size)
    keep_text(e, TEXT_ID, x.id.data, x.id.size)


cdef void keep_refusal(AccessLog *log, const Stream *s, const Verdict *v) noexcept:
    cdef AccessEntry *e = next_entry(log)
    if e == NULL:
        return
    e.at = s.conn.wire.now
    e.took = e.at - s.entered if s.entered else 0
    e.request_bytes = 0
    e.reply_bytes = 0
    e.status = code_of(v.reason)
    e.reason = v.reason
    e.fallback_reason = REASON_NONE
    e.scored = False
    e.flagged = False
    e.step = 0
    e.streaming = s.method == METHOD_STREAM_INFER
    keep_caller(e, s)
    keep_text(e, TEXT_MODEL, NULL, 0)
    keep_text(e, TEXT_VERSION, NULL, 0)
    keep_text(e, TEXT_ID, NULL, 0)


cdef str text_of(const AccessEntry *e, AccessText which):
    return e.text[<int>which][:e.size[<int>which]].decode("utf-8", "replace")


cdef list access_taken(AccessLog *log, uint64_t most):
    cdef const AccessEntry *e
    cdef list found = []
    while log.read < log.written and most:
        e = &log.ring[log.read % ACCESS_ENTRIES]
        found.append((
            e.at, e.took, e.request_bytes, e.reply_bytes, e.score if e.scored else None, e.status, e.reason,
            e.fallback_reason, bool(e.flagged), bool(e.streaming), (<const char *>e.trace)[:24] if e.traced else b"",
            e.proof.decode() if e.proof != NULL else "", text_of(e, TEXT_MODEL), text_of(e, TEXT_VERSION),
            text_of(e, TEXT_IDENTITY), text_of(e, TEXT_ID), STEPS[e.step] if e.step else ""))
        log.read += 1
        most -= 1
    return found
