"""Kernels of the guards of outputs as Python objects, with time as an argument: for tests."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from modelward_native.outputs.class_scores cimport (
    MW_OUTPUT_FOUND, mw_declared_output, mw_find_outputs, mw_found_output, mw_spare_bytes)
from modelward_native.outputs.guard cimport (
    MW_ACT_FLAG, MW_GUARD_FINITE, MW_GUARD_NOT_ABOVE, MW_GUARD_RANGE, MW_GUARD_SUM, mw_budget, mw_budget_give_back,
    mw_budget_state, mw_budget_take, mw_guard, mw_guard_bound, mw_guard_check, mw_guard_clip, mw_guard_example,
    mw_guard_follows, mw_guard_limit, mw_mean, mw_mean_add, mw_mean_state)
from modelward_native.outputs.violations import KINDS
from modelward_native.request.tensor cimport mw_dtype_of, mw_span, mw_view
from modelward_native.timer.clock cimport mw_now_ns

DATATYPES = {"float32": b"FP32", "float64": b"FP64", "int64": b"INT64", "uint8": b"UINT8"}


cdef class Budget:
    """outputs/answer_budget.h. at_most: rows. window: ns."""

    cdef mw_budget budget
    cdef mw_budget_state state

    def __init__(self, int64_t window, uint64_t at_most=0, double share=0):
        self.budget.at_most = at_most
        self.budget.share = share
        self.budget.part = -(-window // 60)

    def take(self, uint64_t amount, int64_t now, uint64_t rows=1, bint refuse=True) -> bool:
        """Whether an answer with that much of its rows may be given out."""
        return mw_budget_take(&self.budget, &self.state, amount, rows, refuse, now)

    def give_back(self, uint64_t amount, int64_t now, uint64_t rows=1) -> None:
        mw_budget_give_back(&self.budget, &self.state, amount, rows, now)


cdef class Mean:
    """outputs/mean.h. window: ns."""

    cdef mw_mean mean
    cdef mw_mean_state state

    def __init__(self, int64_t window, double threshold, uint64_t rows=1, double change=0):
        self.mean.window = window
        self.mean.rows = rows
        self.mean.change = change
        self.mean.threshold = threshold

    def add(self, double total, uint64_t rows, int64_t now) -> bool:
        """Adds rows of an answer. Whether the window before this one was unlike those before it."""
        return mw_mean_add(&self.mean, &self.state, total, rows, now)

    def watch(self, double[:] means) -> int:
        """Of windows with these means: how many were unlike those before them. The first window is number 1."""
        cdef int64_t i, alarms = 0
        for i in range(means.shape[0]):
            alarms += mw_mean_add(&self.mean, &self.state, means[i], 1, (i + 1) * self.mean.window)
        return alarms


cdef class Guard:
    """outputs/guard.h: finite, range and sum of one output of a copy of one encoded ModelInferResponse."""

    cdef bytearray message
    cdef bytes name
    cdef mw_declared_output declared
    cdef mw_found_output found
    cdef mw_guard guard
    cdef uint8_t spare[1024]

    def __init__(self, bytes message not None, str name not None, str datatype not None, bint finite=False, tuple between=None,
                 sum=None, double tolerance=0, bint batch=True):
        cdef bytes dtype = datatype.encode()
        cdef mw_span text
        low, high = between or (float("-inf"), float("inf"))
        self.message = bytearray(message)
        self.name = name.encode()
        text.data = <const uint8_t *><char *>dtype
        text.size = len(dtype)
        self.declared.name.data = <const uint8_t *><char *>self.name
        self.declared.name.size = len(self.name)
        self.declared.dtype = mw_dtype_of(text)
        self.guard.batch = batch
        self.guard.action[<int>MW_GUARD_FINITE] = MW_ACT_FLAG if finite else 0
        self.guard.action[<int>MW_GUARD_RANGE] = MW_ACT_FLAG if between else 0
        self.guard.action[<int>MW_GUARD_SUM] = MW_ACT_FLAG if sum is not None else 0
        self.guard.low = mw_guard_bound(low, self.declared.dtype, False)
        self.guard.high = mw_guard_bound(high, self.declared.dtype, True)
        self.guard.sum = sum or 0
        self.guard.tolerance = tolerance

    cdef uint32_t check(self, mw_guard_example *first):
        cdef mw_spare_bytes spare
        spare.data = self.spare
        spare.size = sizeof(self.spare)
        spare.used = 0
        mw_find_outputs(<uint8_t *><char *>self.message, len(self.message), &self.declared, 1, &self.found, &spare)
        if self.found.state != MW_OUTPUT_FOUND:
            return 1
        return mw_guard_check(&self.guard, self.declared.dtype, &self.found, first)

    def violated(self) -> tuple:
        """The guards that the output violates, and the first element that shows it."""
        cdef mw_guard_example first
        first.element = 0
        first.value = 0
        cdef uint32_t bits = self.check(&first)
        return [KINDS[kind] for kind in range(<int>MW_GUARD_NOT_ABOVE) if bits >> kind & 1], first.element, first.value

    def clip(self) -> bytes | None:
        """The answer with its numbers in the range; None where one is NaN."""
        cdef mw_guard_example first
        self.check(&first)
        assert self.found.state == MW_OUTPUT_FOUND and not self.found.in_spare
        return bytes(self.message) if mw_guard_clip(&self.guard, self.declared.dtype, &self.found) else None

    def follows(self, str kind not None, list inputs not None, uint32_t index, int column=-1) -> bool:
        """Whether it `rises_with` or `falls_with` a column of an input. inputs: numpy arrays, as a request's."""
        cdef mw_guard_example first
        cdef mw_guard_limit limit
        cdef mw_view views[8]
        cdef uint32_t i
        cdef mw_span text
        assert 0 < len(inputs) <= 8 and index < len(inputs)
        raw = [array.tobytes() for array in inputs]
        names = [DATATYPES[array.dtype.name] for array in inputs]
        for i in range(len(inputs)):
            text.data = <const uint8_t *><char *>names[i]
            text.size = len(names[i])
            views[i].raw.data = <const uint8_t *><char *>raw[i]
            views[i].raw.size = len(raw[i])
            views[i].elements = inputs[i].size
            views[i].dtype = mw_dtype_of(text)
        limit.kind = KINDS.index(kind)
        limit.of_input = True
        limit.index = index
        limit.column = column
        self.check(&first)
        assert self.found.state == MW_OUTPUT_FOUND
        return mw_guard_follows(&self.guard, &limit, self.declared.dtype, &self.found, views, len(inputs), &first)

    def measure(self, int64_t rounds) -> float:
        """Nanoseconds to find the output and to check it."""
        cdef mw_guard_example first
        cdef int64_t start = mw_now_ns(), _round, total = 0
        for _round in range(rounds):
            total += self.check(&first)
        return (mw_now_ns() - start + (total > rounds * 9)) / <double>rounds
