"""The pairs that a shadow's answers make with those of the version asked for: compared, and counted."""
from libc.stdint cimport int64_t, uint32_t

from modelward_native.request.caller cimport part_of
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.tensor cimport mw_span
from modelward_native.shadow.compare cimport MW_PRIMARY_UNREADABLE, mw_compare_pair, mw_compare_scratch, mw_comparison
from modelward_native.shadow.mirror cimport Mirrors, message_of, unlink_mirror
from modelward_native.shadow.samples cimport take_sample
from modelward_native.shadow.shadow cimport Shadow, shadow_of
from modelward_native.shadow.shadows cimport ShadowBlock
from modelward_native.shadow.stats cimport (
    MW_DROP_VOID, MW_DROP_YIELDED, mw_shadow_fail, mw_shadow_record, mw_shadow_stats, mw_window_record)
from modelward_native.wire.buffer cimport Buffer

cdef mw_compare_scratch SCRATCH   # where answers are taken apart; the loop's thread alone


cdef ShadowBlock *end(Mirrors *mirrors, Exchange *y) noexcept:
    """Gives back what it has taken; its stats."""
    cdef Shadow shadow = shadow_of(y.shadow_link)
    cdef uint32_t part = part_of(y.payers.identity)
    cdef size_t size = y.body.size + y.reply.size
    shadow.inflight -= 1
    shadow.held -= size
    shadow.inflight_of[part] -= 1
    shadow.held_of[part] -= size
    unlink_mirror(mirrors, y)
    return y.shadow_link.block


cdef void drop(Mirrors *mirrors, Exchange *y) noexcept:
    end(mirrors, y).side[y.flagged].dropped[<int>MW_DROP_YIELDED] += 1


cdef void pair(Mirrors *mirrors, Exchange *y, const Buffer *reply, bint due, int64_t now) noexcept:
    cdef ShadowBlock *block = end(mirrors, y)
    cdef mw_shadow_stats *side = &block.side[y.flagged]
    cdef mw_shadow_stats *slice = y.slice
    cdef Shadow shadow = shadow_of(y.shadow_link)
    cdef mw_comparison found
    cdef mw_span primary, answer
    cdef int64_t ours, theirs
    if block.warmed < shadow.warmup:
        block.warmed += 1
        return
    if due and mirrors.busy >= y.launched:
        side.dropped[<int>MW_DROP_YIELDED] += 1
        return
    if reply == NULL or y.reply.size == 0:
        mw_shadow_fail(side, y.reply.size == 0, reply == NULL)
        mw_shadow_fail(slice, y.reply.size == 0, reply == NULL)
        mw_shadow_fail(caller_stats(block, y), y.reply.size == 0, reply == NULL)
        return
    primary.data = y.reply.data
    primary.size = y.reply.size
    answer = message_of(y, reply)
    mw_compare_pair(primary, answer, shadow.tolerance, &SCRATCH, &found)
    if found.status == MW_PRIMARY_UNREADABLE:
        side.dropped[<int>MW_DROP_VOID] += 1
        return
    # where both run here, the time of the runs: in a queue each waits for what others ask
    if y.ran and y.mirrors.ran:
        ours, theirs = y.mirrors.ran, y.ran
    else:
        ours, theirs = y.took, now - y.launched
    mw_shadow_record(side, &found, ours, theirs)
    mw_shadow_record(slice, &found, ours, theirs)
    mw_shadow_record(caller_stats(block, y), &found, ours, theirs)
    mw_window_record(&block.window, &found)
    if found.disagreement > 0:
        take_sample(&mirrors.samples, y, primary, answer, found.disagreement)


cdef inline mw_shadow_stats *caller_stats(ShadowBlock *block, const Exchange *y) noexcept:
    """Of its caller's part, for one more pair."""
    cdef uint32_t part = part_of(y.mirrors.payers.identity)
    block.of_part[part] += 1
    return &block.part[part]
