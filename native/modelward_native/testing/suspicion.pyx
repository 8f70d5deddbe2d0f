"""Records of suspicion whose evidence Python sets: for tests."""
import time

from libc.stdint cimport int64_t, uint16_t, uint64_t, uint8_t

from modelward_native.detect.suspicion cimport (
    MW_NAT, Suspicion as Base, mw_step, mw_step_of, mw_suspect, mw_suspect_again, mw_suspect_find, mw_suspect_get,
    mw_suspect_step, mw_suspect_time)
from modelward_native.detect.suspicion import SIGNALS, STEPS


cdef class Suspicion(Base):
    """The Suspicion of the data plane, with methods that do what a request does to its record."""

    def put(self, uint64_t key, int64_t now_ns, dict evidence=None, float distinct=0, double blocked=0, int strikes=0,
            str spends="observe"):
        """A record whose last row was now; evidence: nats by signal; blocked: seconds from now; spends: the step of
        today's budget. False: there is no place."""
        cdef mw_suspect *s = mw_suspect_get(&self.table, key, now_ns)
        if s == NULL:
            return False
        s.last = mw_suspect_time(now_ns)
        for name, nats in (evidence or {}).items():
            s.evidence[2 * <int>SIGNALS.index(name)] = <int>(nats * <int>MW_NAT)
        s.distinct = distinct
        s.until = mw_suspect_time(now_ns + <int64_t>(blocked * 1e9)) if blocked else 0
        s.strikes = strikes
        s.day = <uint16_t>(<int64_t>time.time() // 86400)
        s.spends = <uint8_t><int>STEPS.index(spends)
        s.spent = distinct
        s.step = <int>mw_suspect_step(s, now_ns)
        return True

    def has(self, uint64_t key):
        return mw_suspect_find(&self.table, key) != NULL

    def again(self, uint64_t key, uint64_t found, int64_t now_ns):
        """Key of the record that `key` has, where that of `found` was its own a moment ago; 0: there is no place."""
        cdef mw_suspect *s = mw_suspect_again(&self.table, mw_suspect_find(&self.table, found), key, now_ns)
        return 0 if s == NULL else s.key


def step_of(float evidence, bint young, str before):
    """The name of mw_step_of's answer."""
    return STEPS[<int>mw_step_of(evidence, young, <mw_step><int>STEPS.index(before))]
