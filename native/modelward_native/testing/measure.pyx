"""What the kernels of timers and histograms cost: for tests and tools."""
from libc.stdint cimport int64_t, uint64_t

from modelward_native.telemetry.histogram cimport MW_CELLS, mw_histogram, mw_histogram_count, mw_histogram_record_ns
from modelward_native.timer.clock cimport mw_now_ns
from modelward_native.timer.deadline cimport (
    mw_timer, mw_timer_init, mw_wheel, mw_wheel_add, mw_wheel_cancel, mw_wheel_init)


def measure_record(int64_t rounds):
    """Nanoseconds per record of values spread evenly over the octaves of the covered range."""
    cdef mw_histogram histogram
    cdef uint64_t x = 88172645463325252
    cdef int64_t i, _round, start = mw_now_ns()
    for i in range(MW_CELLS):
        histogram.cell[i] = 0
    histogram.sum = 0
    for _round in range(rounds):
        x ^= x << 13
        x ^= x >> 7
        x ^= x << 17
        mw_histogram_record_ns(&histogram, <int64_t>(x >> (27 + (x & 31))))
    if mw_histogram_count(&histogram) != <uint64_t>rounds:
        raise AssertionError("records were lost")
    return (mw_now_ns() - start) / <double>rounds


cdef void fire_nothing(mw_timer *timer, int64_t now_ns) noexcept:
    pass


def measure_add_cancel(int64_t rounds, int64_t span_ns):
    """Nanoseconds per add + cancel of one deadline `span_ns` ahead, among 1024 pending ones, over `rounds` rounds."""
    cdef mw_timer[1024] timers
    cdef mw_wheel wheel
    cdef int64_t i, start, now = mw_now_ns()
    mw_wheel_init(&wheel, now)
    for i in range(1024):
        mw_timer_init(&timers[i], fire_nothing)
        mw_wheel_add(&wheel, &timers[i], now + span_ns)
    start = mw_now_ns()
    for i in range(rounds):
        mw_wheel_cancel(&wheel, &timers[i & 1023])
        mw_wheel_add(&wheel, &timers[i & 1023], now + span_ns + i * 1000)
    return (mw_now_ns() - start) / <double>rounds
