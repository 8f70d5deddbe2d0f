"""Connections refused and closed, told in the log: a line per reason and round, however many strangers ask for it."""

import logging

from modelward_native.wire.close_reason import REFUSED

log = logging.getLogger("modelward.connections")

# what happens to honest clients too, on an ordinary day
QUIET = ("idle",)
MEANING = {
    "full": "limits.connections.total is reached and none of them is idle",
    "peer_full": "limits.connections.per_peer is reached and none of them is idle",
    "peer_rate": "they come faster than limits.connections.rate_per_peer",
    "descriptors": "the process may not open more files (ulimit -n)",
    "resets": "too many streams were reset early",
    "peer_resets": "too many streams were reset early on all connections of the peer together",
    "control_frames": "a flood of frames without content",
    "headers": "header blocks that do not end",
    "protocol": "not HTTP/2, or broken frames",
    "stalled": "responses were not read within limits.timeouts.stalled",
    "slow": "requests did not arrive within limits.timeouts.request",
    "handshake": "no HTTP/2 handshake within limits.timeouts.handshake",
    "idle": "no stream within limits.timeouts.idle_connection",
    "room": "idle, shaking hands or waited for, and limits.connections or the peer's share of it is reached",
}


class CloseReasonLog:
    """Remembers what it has told. The peer in a line is the last one, as the socket tells it: never a client's text."""

    def __init__(self, listener: str = "") -> None:
        """listener: its key of the configuration, where it is not the one of requests."""
        self._listener = f" of {listener}" if listener else ""
        self._told: dict[str, int] = {}

    def take(self, reasons: dict[str, tuple[int, str]]) -> None:
        """reasons: as modelward_native.wire.listener.Listener.close_reasons gives them."""
        for why, (count, peer) in reasons.items():
            new = count - self._told.get(why, 0)
            if not new:
                continue
            self._told[why] = count
            level = logging.DEBUG if why in QUIET else logging.WARNING
            done = "refused" if why in REFUSED else "closed"
            log.log(level, "%d connections%s %s, the last of %s: %s", new, self._listener, done, peer, MEANING[why])
