"""The flood budget of a connection as Python sees it, for tests; the data plane uses wire/flood.h itself."""
from libc.stdint cimport int64_t, uint8_t

from modelward_native.wire.flood cimport *

FRAME_BURST = <int>MW_FRAME_BURST
FRAME_NS = <int>MW_FRAME_NS
RESET_BURST = <int>MW_RESET_BURST
RESET_FAULT = <int>MW_RESET_FAULT


cdef class FloodBudget:
    """One connection's debts. Times are ns of a monotonic clock."""

    cdef mw_flood flood

    def __cinit__(self, int64_t now_ns):
        mw_flood_init(&self.flood, now_ns)

    def read(self, bytes data not None, int64_t now_ns) -> bool:
        """Bytes as they come, the preface first; True once too many frames are pending."""
        return mw_flood_read(&self.flood, <const uint8_t *><const char *>data, len(data), now_ns)

    def request(self, size_t block):
        """A request has begun, with a header block of `block` bytes."""
        mw_flood_request(&self.flood, block)

    def message(self):
        """A message is whole."""
        mw_flood_message(&self.flood)

    def sent(self, size_t size):
        """`size` bytes of payload were sent."""
        mw_flood_sent(&self.flood, size)

    def reset(self, int weight, int64_t now_ns) -> bool:
        """True once there were too many resets."""
        return mw_flood_reset(&self.flood, weight, now_ns)

    def frames(self, int64_t now_ns) -> int:
        """Frames over the budget; below zero: budget that is saved up."""
        return (self.flood.frames_ns - now_ns) // <int64_t>MW_FRAME_NS
