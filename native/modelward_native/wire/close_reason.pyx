"""The names of what connections are refused and closed for."""

cdef const char *NAME[<int>CLOSE_REASONS]

NAME[<int>CLOSE_NONE] = ""
NAME[<int>CLOSE_FULL] = "full"
NAME[<int>CLOSE_PEER_FULL] = "peer_full"
NAME[<int>CLOSE_PEER_RATE] = "peer_rate"
NAME[<int>CLOSE_DESCRIPTORS] = "descriptors"
NAME[<int>CLOSE_REFUSED_END] = ""
NAME[<int>CLOSE_RESETS] = "resets"
NAME[<int>CLOSE_PEER_RESETS] = "peer_resets"
NAME[<int>CLOSE_FRAMES] = "control_frames"
NAME[<int>CLOSE_HEADERS] = "headers"
NAME[<int>CLOSE_PROTOCOL] = "protocol"
NAME[<int>CLOSE_STALLED] = "stalled"
NAME[<int>CLOSE_SLOW] = "slow"
NAME[<int>CLOSE_HANDSHAKE] = "handshake"
NAME[<int>CLOSE_IDLE] = "idle"
NAME[<int>CLOSE_ROOM] = "room"

REFUSED = tuple(NAME[i].decode() for i in range(1, CLOSE_REFUSED_END))
CLOSED = tuple(NAME[i].decode() for i in range(CLOSE_REFUSED_END + 1, CLOSE_REASONS))


cdef const char *close_reason_name(int reason) noexcept nogil:
    return NAME[reason]
