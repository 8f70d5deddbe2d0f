# How the answers of a version are distributed.
from native.exchange cimport Buffer, Exchange
from native.model cimport Model

cdef void sketch(const Exchange *x, Model *asked, const Buffer *reply) noexcept
