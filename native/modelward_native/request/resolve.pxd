# Which model and version a request is for.
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.model cimport Model


cdef inline void ask(Exchange *x, Model *m) noexcept:
    """The model that an exchange asks for: with its settings it ends, whatever is served by then."""
    if x.asked != NULL:
        x.asked.users -= 1
    x.asked = m
    m.users += 1
