"""Names of what connections are refused and closed for; and the kernel of modelward_native/wire/conduct.h, for tests."""
from libc.stdint cimport int64_t, uint8_t

cdef const char *NAME[<int>PARTINGS]

NAME[<int>PARTING_NONE] = ""
NAME[<int>PARTING_FULL] = "full"
NAME[<int>PARTING_PEER_FULL] = "peer_full"
NAME[<int>PARTING_PEER_RATE] = "peer_rate"
NAME[<int>PARTING_DESCRIPTORS] = "descriptors"
NAME[<int>PARTINGS_BEFORE] = ""
NAME[<int>PARTING_RESETS] = "resets"
NAME[<int>PARTING_PEER_RESETS] = "peer_resets"
NAME[<int>PARTING_FRAMES] = "control_frames"
NAME[<int>PARTING_HEADERS] = "headers"
NAME[<int>PARTING_PROTOCOL] = "protocol"
NAME[<int>PARTING_STALLED] = "stalled"
NAME[<int>PARTING_SLOW] = "slow"
NAME[<int>PARTING_HANDSHAKE] = "handshake"
NAME[<int>PARTING_IDLE] = "idle"
NAME[<int>PARTING_ROOM] = "room"

REFUSED = tuple(NAME[i].decode() for i in range(1, PARTINGS_BEFORE))
CLOSED = tuple(NAME[i].decode() for i in range(PARTINGS_BEFORE + 1, PARTINGS))
FRAME_BURST = <int>MW_FRAME_BURST
FRAME_NS = <int>MW_FRAME_NS
RESET_BURST = <int>MW_RESET_BURST
RESET_FAULT = <int>MW_RESET_FAULT


cdef const char *parting_name(int parting) noexcept nogil:
    return NAME[parting]


cdef class Conduct:
    """One connection's debts. Times are ns of a monotonic clock."""

    cdef mw_conduct conduct

    def __cinit__(self, int64_t now_ns):
        mw_conduct_init(&self.conduct, now_ns)

    def read(self, bytes data not None, int64_t now_ns) -> bool:
        """Bytes as they come, the preface first; True once too many frames are owed."""
        return mw_conduct_read(&self.conduct, <const uint8_t *><const char *>data, len(data), now_ns)

    def request(self, size_t block):
        """A request has begun, with a header block of so many bytes."""
        mw_conduct_request(&self.conduct, block)

    def message(self):
        """A message is whole."""
        mw_conduct_message(&self.conduct)

    def sent(self, size_t size):
        """So many bytes of payload were sent."""
        mw_conduct_sent(&self.conduct, size)

    def reset(self, int weight, int64_t now_ns) -> bool:
        """True once too many resets are owed."""
        return mw_conduct_reset(&self.conduct, weight, now_ns)

    def frames(self, int64_t now_ns) -> int:
        """Frames that are owed; below zero, saved up."""
        return (self.conduct.frames_ns - now_ns) // <int64_t>MW_FRAME_NS
