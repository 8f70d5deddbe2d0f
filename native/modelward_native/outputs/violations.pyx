"""Answers that were not as the guards of their outputs say, counted over all processes. A module of its own: the supervisor reads
them, and needs no engine."""
from libc.stdint cimport int64_t

from modelward_native.outputs.guard cimport MW_ACTIONS, MW_GUARD_BUDGETS, MW_GUARDS, mw_budget_used, mw_guard_block
from modelward_native.region.region cimport Named, Region

KINDS = ("readable", "finite", "range", "sum", "not_above", "not_below", "rises_with", "falls_with", "mean", "budget")
ACTIONS = ("none", "observe", "flag", "clip", "fallback")
PREFIX = b"outputs\0"             # of the names of blocks, before model and output
SHARES_PREFIX = b"shares\0"       # likewise, of what each caller has taken


def violations(Region region not None) -> dict:
    """By model and output: by guard and action how many answers were not as they should be."""
    cdef Named *entry
    cdef const mw_guard_block *block
    cdef int kind, action
    found = {}
    for name in region.names():
        if not name.startswith(PREFIX):
            continue
        entry = region.find(name)
        block = <const mw_guard_block *>region.common(name, entry.size)
        model, output = name[len(PREFIX):].split(b"\0")
        counts = {}
        for kind in range(<int>MW_GUARDS):
            for action in range(1, <int>MW_ACTIONS):
                if block.answers[kind][action]:
                    counts[KINDS[kind], ACTIONS[action]] = block.answers[kind][action]
        found[model.decode(), output.decode("utf-8", "replace")] = counts
    return found


def budgets_used(Region region not None, int64_t now) -> dict:
    """By model and output, of those with budgets: which part of the one that is used most; 1 is all of it. now: monotonic ns."""
    cdef Named *entry
    cdef const mw_guard_block *block
    cdef int k
    found = {}
    for name in region.names():
        if not name.startswith(PREFIX):
            continue
        entry = region.find(name)
        block = <const mw_guard_block *>region.common(name, entry.size)
        used = [mw_budget_used(&block.budget[k], now) for k in range(<int>MW_GUARD_BUDGETS) if block.budget[k].identity]
        if used:
            model, output = name[len(PREFIX):].split(b"\0")
            found[model.decode(), output.decode("utf-8", "replace")] = max(used)
    return found
