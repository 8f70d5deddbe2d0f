"""The life of an exchange: taken from a pool, counted by its holders, returned by the last of them."""
from libc.stdint cimport int64_t
from libc.stdlib cimport free
from libc.string cimport memset

from modelward_native.region.spare cimport mw_spare_keep, mw_spare_new, mw_spares
from modelward_native.detect.held cimport mw_held_give_back
from modelward_native.backend.admit cimport MW_NOT_WAITING, mw_waiting_correct
from modelward_native.request.exchange cimport Exchange
from modelward_native.wire.holding cimport release
from modelward_native.wire.types cimport Wire
from modelward_native.wire.buffer cimport Buffer
from modelward_native.wire.grpc cimport ending_clear
from modelward_native.wire.listener cimport settle_charge
from modelward_native.request.validate cimport drop_tensors

cdef enum:
    SPARE_EXCHANGES = 4096        # about 3 MiB at most

cdef mw_spares SPARES


cdef Exchange *exchange_new(Wire *wire) noexcept:
    cdef Exchange *x = <Exchange *>mw_spare_new(&SPARES, sizeof(Exchange))
    if x == NULL:
        return NULL
    x.references = 1
    x.waiting = MW_NOT_WAITING
    x.wire = wire
    return x


cdef void exchange_unref(Exchange *x) noexcept:
    cdef Exchange *original = x.mirrors
    x.references -= 1
    if x.references > 0:
        return
    settle(x, 0)
    if original != NULL:
        memset(&x.body, 0, sizeof(Buffer))    # the original's
    drop_tensors(x)
    if x.asked != NULL:
        x.asked.users -= 1
    release(x.wire, &x.body)
    release(x.wire, &x.converted)
    free(x.wanted)
    if x.held != NULL:
        mw_held_give_back(x.held)
    free(x.watched_rows)
    release(x.wire, &x.reply)
    ending_clear(&x.ending)
    free(x.initial.data)
    mw_spare_keep(&SPARES, x, SPARE_EXCHANGES)
    if original != NULL:
        exchange_unref(original)


cdef void settle(Exchange *x, int64_t took_ns) noexcept:
    if x.stamped and took_ns > 0:
        # who holds places for longer than was predicted gets fewer of them
        x.stamped = False
        mw_waiting_correct(&x.model.gate.waiting, x.payers.identity,
                           x.share * (<double>(took_ns - x.predicted) / <double>x.predicted))
    if x.unsettled:
        x.unsettled = False
        took_ns += x.inflating
        settle_charge(x.wire, &x.payers, x.predicted, took_ns)
        if took_ns > 0 and x.asked != NULL:
            x.asked.counters.predicted_ns += x.predicted
            x.asked.counters.taken_ns += took_ns
