# A compressed message on its way to be read.
from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef struct Packed

from modelward_native.wire.buffer cimport Buffer
from modelward_native.wire.compression cimport Inflation
from modelward_native.request.exchange cimport Exchange
from modelward_native.wire.types cimport Stream, Wire

cdef struct Packed:               # one compressed message: Stream.packed
    Inflation work
    Buffer body                   # owned: the message as it came; counts as in flight, as work.out does
    Stream *stream                # borrowed; NULL once it has gone
    Exchange *exchange            # borrowed, as its stream's; NULL for a call that is passed through
    Wire *wire
    uint64_t payer                # its identity's budget: who waits behind whom
    uint32_t waiting              # index among those who wait for the thread; MW_NOT_WAITING
    int state                     # enum Inflated
    bint partial                  # it waits with a part of its contents, and with room for all of them
    bint refused                  # there was no room for it, or others had a better claim
    int64_t took                  # ns
