"""The guards of a version's outputs, and an answer held against them."""
import hashlib
import logging

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from modelward_native.backend.engine cimport Engine
from modelward_native.limits.limit cimport mw_rate_make
from modelward_native.outputs.class_scores cimport (
    MW_FIND_OUTPUTS, MW_OUTPUT_FOUND, mw_find_outputs, mw_found_output, mw_spare_bytes)
from modelward_native.outputs.guard cimport *
from modelward_native.outputs.violations import ACTIONS, KINDS, PREFIX, SHARES_PREFIX
from modelward_native.region.region cimport Region
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.tensor cimport mw_view

log = logging.getLogger("modelward.outputs")

cdef extern from "<stdlib.h>" nogil:
    void *aligned_alloc(size_t, size_t)

BUDGETS = ("label", "above", "sum")
MOST_LIMITS, MOST_BUDGETS = <int>MW_GUARD_LIMITS, <int>MW_GUARD_BUDGETS

cdef enum:
    SPARE = 65536                 # bytes of typed integers of one answer that are read

# the loop's thread alone
cdef uint8_t SPARE_BYTES[SPARE]
cdef mw_found_output FOUND[<int>MW_FIND_OUTPUTS]


# ---- one answer

cdef void note(GuardedOutputs *g, uint32_t i, int kind, int action, const Exchange *x, const mw_guard_example *example,
               uint64_t columns, bint given, GuardFinding *finding) noexcept:
    """What is violated, and what is done about it."""
    cdef GuardEvent *event = &g.event[i][kind]
    cdef size_t size
    finding.action = max(finding.action, action)
    if kind < <int>MW_GUARD_MEAN:
        finding.faulty = True
    if not given:
        return
    if action > <int>MW_ACT_OBSERVE:
        finding.told |= <uint32_t>1 << kind
    mw_count_answer(&g.block[i].answers[kind][action])
    event.answers += 1
    if event.answers == 1:
        size = min(x.id.size, sizeof(event.id) - 1)
        if size:                  # an empty span may point nowhere
            memcpy(event.id, x.id.data, size)
        event.id[size] = 0
        event.row = MW_NO_ELEMENT if example.element == MW_NO_ELEMENT else example.element // columns if columns else 0
        event.value = example.value
        event.other = example.other


cdef extern from *:
    """
    #define mw_count_answer(p) __atomic_fetch_add(p, 1, __ATOMIC_RELAXED)
    """
    void mw_count_answer(uint64_t *) noexcept nogil


cdef bint bounds_of(const GuardedOutputs *g, const mw_guard_limit *limit, const mw_found_output *found, const Exchange *x,
                    mw_view *other) noexcept:
    """The tensor that bounds an output. False: it cannot be read."""
    cdef const mw_found_output *f
    if limit.of_input:
        if x.view == NULL or limit.index >= x.asked.input_count:
            return False
        other[0] = x.view[limit.index]
        return True
    f = &found[limit.index]
    if f.state != MW_OUTPUT_FOUND:
        return False
    other.elements = <int64_t>f.elements
    other.dtype = g.declared[limit.index].dtype
    other.raw.data = f.data
    return True


cdef void check_output(GuardedOutputs *g, uint32_t i, const mw_found_output *found, const Exchange *x, bint given,
                       GuardFinding *finding) noexcept:
    """What one answer shows by itself."""
    cdef const mw_guard *guard = &g.guard[i]
    cdef const mw_found_output *f = &found[i]
    cdef mw_guard_example example, mend
    cdef const mw_guard_limit *limit
    cdef mw_view other
    cdef uint64_t columns
    cdef uint32_t violated, k
    cdef int kind, action
    cdef bint mended
    memset(&example, 0, sizeof(example))
    example.element = MW_NO_ELEMENT
    if f.state != MW_OUTPUT_FOUND:
        note(g, i, MW_GUARD_READABLE, guard.action[<int>MW_GUARD_READABLE], x, &example, 0, given, finding)
        return
    columns = mw_guard_rows_of(guard, f).columns
    violated = mw_guard_check(guard, g.declared[i].dtype, f, &example)
    for kind in range(<int>MW_GUARD_FINITE, <int>MW_GUARD_SUM + 1 if violated else 0):
        if violated >> kind & 1:
            action = guard.action[kind]
            if action == <int>MW_ACT_CLIP and (f.in_spare or not mw_guard_clip(guard, g.declared[i].dtype, f)):
                action = MW_ACT_FALLBACK
            note(g, i, kind, action, x, &example, columns, given, finding)
    for k in range(guard.limits):
        limit = &guard.limit[k]
        mended = False
        if limit.kind >= <int>MW_GUARD_RISES_WITH:
            example.element = MW_NO_ELEMENT
            if x.view != NULL and limit.index < x.asked.input_count and mw_guard_follows(
                    guard, limit, g.declared[i].dtype, f, x.view, x.asked.input_count, &example):
                continue
        elif bounds_of(g, limit, found, x, &other):
            if mw_guard_keeps(guard, limit, g.declared[i].dtype, f, &other, 0, &example):
                continue
            mended = guard.action[limit.kind] == <int>MW_ACT_CLIP and not f.in_spare and mw_guard_keeps(
                guard, limit, g.declared[i].dtype, f, &other, 1, &mend)
        action = guard.action[limit.kind]
        if action == <int>MW_ACT_CLIP and not mended:
            action = MW_ACT_FALLBACK
        note(g, i, limit.kind, action, x, &example, columns, given, finding)


cdef void check_mean(GuardedOutputs *g, uint32_t i, const mw_found_output *f, const Exchange *x, int64_t now,
                     GuardFinding *finding) noexcept:
    cdef mw_guard_example example
    cdef double total
    cdef uint64_t rows = mw_guard_total(&g.guard[i], g.declared[i].dtype, f, &total)
    if mw_mean_add(&g.guard[i].mean, g.mean[i], total, rows, now):
        example.element = 0
        example.value = g.mean[i].last
        example.other = g.mean[i].expected
        note(g, i, MW_GUARD_MEAN, g.guard[i].action[<int>MW_GUARD_MEAN], x, &example, 0, True, finding)


cdef inline uint64_t caller_of(const Exchange *x) noexcept:
    return x.payers.identity if x.payers.identity else x.payers.peer


cdef bint take_budget(GuardedOutputs *g, uint32_t i, const mw_budget *budget, mw_budget_state *state, uint64_t caller,
                      uint64_t amount, uint64_t rows, bint refuse, uint8_t *charged, int64_t now) noexcept:
    """False: the caller's share is taken, or the budget is. charged: whether this has taken from the caller's."""
    charged[0] = mw_caller_take(&g.share[i], budget, caller, amount, now) != 0
    if not charged[0] and refuse:
        return False
    if mw_budget_take(budget, state, amount, rows, refuse, now):
        return charged[0]
    if charged[0] and refuse:
        mw_caller_give_back(&g.share[i], budget, caller, amount, now)
    return False


cdef bint take_budgets(GuardedOutputs *g, const mw_found_output *found, const Exchange *x, int64_t now, bint back,
                       uint32_t until, uint8_t *charged, GuardFinding *finding) noexcept:
    """Takes the answer from every budget. False: one is over, and the answer is not given out; those before it get it back.

    back: gives the first `until` of them back instead, and to the caller what `charged` says that its share has paid.
    """
    cdef const mw_guard *guard
    cdef const mw_budget *budget
    cdef mw_guard_example example
    cdef uint32_t i, k, taken = 0
    cdef uint64_t amount, rows
    cdef bint refuse
    for i in range(g.count):
        guard = &g.guard[i]
        if guard.budgets == 0 or found[i].state != MW_OUTPUT_FOUND:
            continue
        refuse = guard.action[<int>MW_GUARD_BUDGET] == <int>MW_ACT_FALLBACK
        rows = mw_guard_rows_of(guard, &found[i]).rows
        for k in range(guard.budgets):
            budget = &guard.budget[k]
            amount = mw_guard_amount(guard, budget, g.declared[i].dtype, &found[i])
            if back:
                if taken == until:
                    return True
                if charged[taken]:
                    mw_caller_give_back(&g.share[i], budget, caller_of(x), amount, now)
                mw_budget_give_back(budget, &g.block[i].budget[k], amount, rows, now)
            elif not take_budget(g, i, budget, &g.block[i].budget[k], caller_of(x), amount, rows, refuse, &charged[taken], now):
                example.element = 0
                example.value = <double>amount * (budget.unit if budget.unit > 0 else 1)
                example.other = example.value
                note(g, i, MW_GUARD_BUDGET, guard.action[<int>MW_GUARD_BUDGET], x, &example, 0, True, finding)
                if refuse:
                    take_budgets(g, found, x, now, True, taken, charged, finding)
                    return False
            taken += 1
    return True


cdef const mw_found_output *find_guarded(const GuardedOutputs *g, uint8_t *message, size_t size) noexcept:
    cdef mw_spare_bytes spare
    spare.data = SPARE_BYTES
    spare.size = SPARE
    spare.used = 0
    return FOUND if mw_find_outputs(message, size, g.declared, g.count, FOUND, &spare) else NULL


cdef void check_answer(GuardedOutputs *g, const mw_found_output *found, const Exchange *x, uint8_t *message, size_t size,
                       bint given, int64_t now, GuardFinding *finding) noexcept:
    cdef uint8_t charged[<int>MW_FIND_OUTPUTS * <int>MW_GUARD_BUDGETS]    # each is written before it is read
    cdef uint32_t i
    memset(finding, 0, sizeof(finding[0]))
    if found == NULL:
        find_guarded(g, message, size)
        found = FOUND             # all unreadable where it is malformed
    for i in range(g.count):
        if given and g.guard[i].action[<int>MW_GUARD_MEAN] and found[i].state == MW_OUTPUT_FOUND:
            check_mean(g, i, &found[i], x, now, finding)    # before it is clipped: what the model said
        check_output(g, i, found, x, given, finding)
    if given and finding.action != <int>MW_ACT_FALLBACK:
        finding.over_budget = not take_budgets(g, found, x, now, False, 0, charged, finding)


# ---- set up

cdef uint64_t fingerprint(object of) except 0:
    return int.from_bytes(hashlib.sha256(repr(of).encode()).digest()[:8], "little") | 1


cdef class OutputGuards:
    """outputs: of each guarded output a mapping; modelward.models.output_guards makes it. version: of the model's content."""

    def __cinit__(self, Engine engine not None, str version not None, list outputs not None):
        cdef GuardedOutputs *g = &self.guarded
        cdef uint32_t i, output
        if not 0 < len(outputs) <= MW_FIND_OUTPUTS:
            raise ValueError(f"{len(outputs)} outputs; there may be 1 to {<int>MW_FIND_OUTPUTS}")
        self.own = <mw_guard_block *>calloc(len(outputs), sizeof(mw_guard_block))
        if self.own == NULL:
            raise MemoryError
        self.names = []
        self.version = repr((version, outputs)).encode()
        for i, given in enumerate(outputs):
            output = given["output"]
            if output >= engine.output_count:
                raise ValueError(f"there is no output {output}")
            g.output[i] = output
            g.declared[i].name = engine.output[output].name
            g.declared[i].dtype = engine.output[output].dtype
            g.block[i] = &self.own[i]
            g.mean[i] = &self.own[i].mean[0]
            self.names.append(engine.outputs[output][0])
            fill(&g.guard[i], given, g.declared[i].dtype, engine.has_batch_axis)
            if has_shares(&g.guard[i]):
                self.shares[i] = <mw_caller_shares *>aligned(sizeof(mw_caller_shares))
                mw_caller_shares_open(&g.share[i], self.shares[i])
        g.count = len(outputs)

    def __dealloc__(self):
        cdef uint32_t i
        free(self.own)
        for i in range(<uint32_t>MW_FIND_OUTPUTS):
            free(self.shares[i])

    cdef int attach(self, Region region, bytes model) except -1:
        """Counts, budgets and means of all processes of the region are one from now on."""
        cdef GuardedOutputs *g = &self.guarded
        cdef mw_guard_block *block
        cdef mw_caller_shares *shares
        cdef uint32_t i, k
        for i in range(g.count):
            shares = NULL
            try:
                name = model + b"\0" + self.names[i].encode()
                block = <mw_guard_block *>region.common(PREFIX + name, sizeof(mw_guard_block))
                if has_shares(&g.guard[i]):
                    shares = <mw_caller_shares *>region.common(SHARES_PREFIX + name, sizeof(mw_caller_shares))
            except MemoryError as error:
                log.error("model %s: each process guards the output %s by itself: %s", model.decode(), self.names[i], error)
                continue
            g.block[i] = block
            if shares != NULL:
                mw_caller_shares_open(&g.share[i], shares)
                free(self.shares[i])
                self.shares[i] = NULL
            region.hold()
            try:
                for k in range(<uint32_t>MW_GUARD_BUDGETS):
                    begin_budget(&block.budget[k], &g.guard[i].budget[k] if k < g.guard[i].budgets else NULL)
                g.mean[i] = mean_of(block, fingerprint(self.version))
            finally:
                region.let_go()
        return 0

    @property
    def held(self) -> int:
        """Bytes of callers' shares that are this process's own: none once the region's are used."""
        return sum([sizeof(mw_caller_shares) for i in range(<int>MW_FIND_OUTPUTS) if self.shares[i] != NULL])

    def take_events(self) -> list:
        """Since the last call: (output, kind, answers, row, value, other, id of the request) of each guard that was violated.

        row: -1 for none. other: what the value is compared with; NaN for nothing.
        """
        cdef GuardEvent *event
        cdef uint32_t i
        cdef int kind
        found = []
        for i in range(self.guarded.count):
            for kind in range(<int>MW_GUARDS):
                event = &self.guarded.event[i][kind]
                if event.answers:
                    row = -1 if event.row == MW_NO_ELEMENT else <int64_t>event.row
                    found.append((self.names[i], KINDS[kind], event.answers, row, event.value, event.other,
                                  event.id.decode("utf-8", "replace")))
                    event.answers = 0
        return found


cdef void begin_budget(mw_budget_state *state, const mw_budget *budget) noexcept:
    """Under the region's lock. Another configuration begins a new window. budget: NULL for none."""
    if state.identity == (budget.identity if budget != NULL else 0):
        return
    memset(state, 0, sizeof(state[0]))
    if budget != NULL:
        state.at_most = budget.at_most
        state.share = budget.share
        state.part = budget.part
        state.identity = budget.identity


cdef mw_mean_state *mean_of(mw_guard_block *block, uint64_t version) noexcept:
    """Under the region's lock: that of the version, or the one that was given to another version first."""
    cdef uint32_t k, oldest = 0
    cdef int64_t last = 0
    for k in range(<uint32_t>MW_GUARD_VERSIONS):
        last = max(last, block.mean[k].used)
    for k in range(<uint32_t>MW_GUARD_VERSIONS):
        if block.mean[k].version == version:
            oldest = k
            break
        if block.mean[k].used < block.mean[oldest].used:
            oldest = k
    if block.mean[oldest].version != version:
        memset(&block.mean[oldest], 0, sizeof(mw_mean_state))
        block.mean[oldest].version = version
    block.mean[oldest].used = last + 1
    return &block.mean[oldest]


cdef bint has_shares(const mw_guard *guard) noexcept:
    cdef uint32_t k
    for k in range(guard.budgets):
        if guard.budget[k].each.interval_ns:
            return True
    return False


cdef void *aligned(size_t size) except NULL:
    """Zeroed, and aligned to the lines of memory. The caller's to free."""
    cdef void *memory = aligned_alloc(64, (size + 63) // 64 * 64)
    if memory == NULL:
        raise MemoryError
    memset(memory, 0, size)
    return memory


cdef int fill(mw_guard *guard, dict given, mw_dtype dtype, bint batch) except -1:
    cdef uint32_t k
    guard.batch = batch
    guard.classes = given["classes"]
    guard.logits = given["logits"]
    for kind, action in given["actions"].items():
        guard.action[<int>KINDS.index(kind)] = ACTIONS.index(action)
    guard.low, guard.high = given["range"]
    guard.low = mw_guard_bound(guard.low, dtype, False)
    guard.high = mw_guard_bound(guard.high, dtype, True)
    guard.sum, guard.tolerance = given["sum"]
    guard.limits = len(given["limits"])
    guard.budgets = len(given["budgets"])
    if guard.limits > <uint32_t>MW_GUARD_LIMITS or guard.budgets > <uint32_t>MW_GUARD_BUDGETS:
        raise ValueError("too many limits or budgets")
    for k, (kind, of_input, index, column) in enumerate(given["limits"]):
        guard.limit[k].kind = KINDS.index(kind)
        guard.limit[k].of_input = of_input
        guard.limit[k].index = index
        guard.limit[k].column = column
    guard.mean.window, guard.mean.rows, guard.mean.change, guard.mean.threshold, guard.mean.column = given["mean"]
    for k, (of, label, above, at_most, unit, share, part, each) in enumerate(given["budgets"]):
        guard.budget[k].of = BUDGETS.index(of)
        guard.budget[k].label = label
        guard.budget[k].above = above
        guard.budget[k].at_most = at_most
        guard.budget[k].unit = unit
        guard.budget[k].share = share
        guard.budget[k].part = part
        if each and mw_rate_make(each / (part * 60 / 1e9), each, &guard.budget[k].each):
            raise ValueError(f"no caller can have {each} of a budget")
        guard.budget[k].identity = fingerprint((of, label, above, at_most, unit, share, part, each))
    return 0
