# What the processes of one server have counted of their shadows, in their slots of the region.
from libc.stdint cimport uint32_t, uint64_t

from modelward_native.shadow.stats cimport mw_shadow_stats, mw_shadow_window
from modelward_native.request.caller cimport CALLERS
from modelward_native.region.region cimport Region

cdef enum Side:                   # of the anomaly flag
    SIDE_NORMAL = 0
    SIDE_ANOMALOUS
    SIDES

cdef enum:
    IDENTITIES = 15               # with a slice of their own, per process; all others share one
    IDENTITY_BYTES = 512          # of a name: no caller's is longer

# One process's stats of one shadow: 615 KB, of which a shadow that few mirror touches little. This process alone writes
# them; they outlive it, and the process that takes its slot goes on counting. Zeroed memory is a shadow without pairs.
cdef struct ShadowBlock:
    uint64_t served               # gauge: how many of this process count here; shadow_block adds one, they take it away
    uint64_t warmed               # pairs that ended during the warm-up: in no other count
    mw_shadow_stats side[<int>SIDES]     # every pair is in one of these, by enum Side
    uint32_t names                # slices taken; written after the name, so that a reader sees whole names
    char kind[<int>IDENTITIES]    # how each was proved: the first letter of modelward_native.access.identity's word
    char name[<int>IDENTITIES][<int>IDENTITY_BYTES]   # padded with zeros
    mw_shadow_stats of_identity[<int>IDENTITIES + 1]     # and in one of these; the last: of all others, and anonymous callers
    mw_shadow_window window
    uint64_t of_part[CALLERS]     # pairs of each part of the callers (modelward_native.shadow.evidence), whatever they are called
    mw_shadow_stats part[CALLERS]        # and their stats, for a verdict that no caller decides

# This process's stats of a shadow (`name`: its own, of `model`'s version `primary`), zeroed when they are first asked for.
# Another fingerprint is another shadow. They are the caller's until `served` is one less again. MemoryError without room.
cdef ShadowBlock *shadow_block(Region region, bytes model, bytes primary, bytes name, bytes fingerprint) except NULL
# The slice of a caller, by name and by what proved it, taken if one is free. No name (size 0): the last.
cdef mw_shadow_stats *identity_slice(ShadowBlock *block, const char *kind, const char *name, size_t size) noexcept
