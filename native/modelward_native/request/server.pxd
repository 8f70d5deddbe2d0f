# The data plane of one process.
from modelward_native.request.state cimport State

cdef class Server(State):
    pass
