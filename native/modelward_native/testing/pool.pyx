"""The endpoints of a model as requests choose and judge them: for tests."""
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t

from modelward_native.backend.breaker cimport MW_BREAKER_FAILURE, MW_BREAKER_IGNORED, MW_BREAKER_SUCCESS
from modelward_native.backend.pool cimport Endpoint as EndpointBase, Pool as PoolBase
from modelward_native.request.served cimport Served


cdef class Endpoint(EndpointBase):
    """An endpoint to which no connection is needed."""

    def begin(self, int64_t now):
        """Begins as a request does. Returns whether it is the trial."""
        return self.take(now)

    def end(self, bint trial, good, int64_t now, uint32_t caller=0, PoolBase pool=None):
        """Ends what `begin` began. good: None where the result says nothing of the endpoint. caller: part of the callers."""
        self.give_back()
        self.judge(trial, caller, MW_BREAKER_IGNORED if good is None else MW_BREAKER_SUCCESS if good else MW_BREAKER_FAILURE,
                   NULL if pool is None else <PyObject *>pool, now)


cdef class Pool(PoolBase):
    """A pool that tells whom it would choose."""

    def next(self, int64_t now, Served served=None):
        """The endpoint that a request at `now` (ns, monotonic) would go to, or None. served: the model that it is for."""
        return self.choose(None, NULL if served is None else &served.model, now)
