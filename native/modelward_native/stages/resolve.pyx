"""At the message: which model and version it is for. A walk over the outermost fields finds the names; nothing is decoded.

A request for an unknown model goes on: `limit` charges it like any other, and `decode`, which reads its id, refuses it.
"""
from libc.stdint cimport int64_t

from modelward_native.access.identity cimport NOT_READ, NOT_SERVED
from modelward_native.request.exchange cimport Exchange
from modelward_native.wire.stream cimport sticky_of
from modelward_native.wire.types cimport Stream
from modelward_native.request.model cimport Model
from modelward_native.request.name cimport LONGEST_NAME
from modelward_native.request.oip cimport mw_oip_first_names, mw_oip_names
from modelward_native.request.route cimport Entry, assigned_by, usual_of
from modelward_native.request.state cimport State
from modelward_native.request.tensor cimport mw_span
from modelward_native.request.verdict cimport (
    REASON_MALFORMED_MESSAGE, REASON_NO_UPSTREAM, Verdict, refusal)
from modelward_native.stages.limit cimport charge_unread
from modelward_native.wire.packed cimport Packed

cdef int64_t LEARN_RETRY = 500000000      # ns
cdef const char *NAME_FIRST = (
    "a compressed message must hold model_name once, as its first field, and model_version next, where it names one")


cdef int resolve(State server, Exchange *x, Verdict *v, int64_t now) noexcept:
    cdef const Packed *packed = x.stream.packed
    cdef mw_span message, name, version
    cdef Entry *entry
    cdef Model *m = NULL
    if packed != NULL:
        message.data = packed.work.out.data
        message.size = packed.work.out.size
        if not mw_oip_first_names(message, &name, &version):
            refusal(v, REASON_MALFORMED_MESSAGE, NAME_FIRST)
            charge_unread(server, x.stream, now)
            return REFUSE
    else:
        message.data = x.body.data
        message.size = x.body.size
        if not mw_oip_names(message, &name, &version):
            x.number = NOT_READ
            return GO_ON
    entry = server.directory.find(name)
    if entry == NULL:
        x.number = NOT_SERVED
        return GO_ON
    x.number = entry.number
    if version.size:
        m = server.directory.version(entry, version)
        x.named = m != NULL
        # only the upstream knows the versions of an undecoded model
        x.unknown_version = m == NULL and not entry.versions[0].undecoded
    if m == NULL:
        m = server.directory.choose(entry, sticky_of(x.stream))
    ask(x, m)
    if m.evidence != NULL and not m.undecoded and not x.unknown_version:
        x.assigned = assigned_by(entry, x)
        x.usual = usual_of(entry, x)
    return GO_ON


cdef void not_found(State server, Exchange *x, mw_span name, mw_span version, Verdict *v, int64_t now) noexcept:
    cdef Entry *entry = server.directory.find(name)
    if x.unknown_version and entry != NULL:
        entry.versions[0].signature_stale = True
        server.directory.unknown_version(entry, version, v)
        return
    server.unlisted = True
    if server.learner is not None and name.size <= LONGEST_NAME and learns(server, x.stream, name):
        refusal(v, REASON_NO_UPSTREAM, "the upstream servers are asked for this model; retry in 0.5 s")
        v.retry_ns = LEARN_RETRY
    else:
        server.directory.unknown_model(name, now, v)


cdef bint learns(State server, const Stream *s, mw_span name) noexcept:
    try:
        return server.learner(name.data[:name.size], s.peer)
    except MemoryError:
        return False
