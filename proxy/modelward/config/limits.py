"""What clients may send, hold and keep open: the section `limits`."""

from typing import Self

from modelward.config.fields import Field, model_validator
from modelward.config.rate_limit import IdentityLimit, Limit, PeerLimit, Shared
from modelward.config.section import Section
from modelward.config.units import MINUTE, SECOND, Duration, KiB, MiB, Rate, Size, UnitError

# protobuf's own bound for one message
LARGEST_MESSAGE = 2**31 - 1


class Connections(Section):
    total: int | None = Field(default=None, ge=1, le=1_000_000)
    """Open connections of all peers together. Absent: 20,000, or what the limit of open files allows."""
    per_peer: int | None = Field(default=None, ge=1, le=1_000_000)
    """Open connections of one peer. Absent: 1,000, or a quarter of what the limit of open files allows."""
    rate_per_peer: Rate = 200.0
    """New connections of one peer."""


class Ipv6(Section):
    """Which IPv6 addresses are one peer."""

    prefix: int = Field(default=64, ge=48, le=128)
    """Length of the network prefix that is one peer. A host usually has a /64, a home often a /56. NAT64 (64:ff9b::/96)
    and 6to4 addresses count as the IPv4 address inside them."""
    peers: int = Field(default=16, ge=1, le=1024)
    """Peers of one /48 that have budgets of their own. A /56 has a quarter of that. All further peers of the network
    share one budget. A peer keeps its budget for a minute after its last connection."""


class Timeouts(Section):
    handshake: Duration = 5 * SECOND
    """Time in which a new connection must send its HTTP/2 preface and SETTINGS."""
    request: Duration = 30 * SECOND
    """Time in which the headers and the body of a request must arrive."""
    idle_stream: Duration = 5 * MINUTE
    """A stream without traffic for this long is reset."""
    idle_connection: Duration = 60 * MINUTE
    """A connection without a stream for this long is closed."""
    stalled: Duration = 30 * SECOND
    """A connection that accepts none of its queued bytes for this long is closed."""


class Limits(Section):
    """Limits of rates, sizes and connections."""

    peer: PeerLimit | None = None
    """Rate limit of each peer address. Absent: no limit."""
    identity: IdentityLimit | None = None
    """Rate limit of each identity. A request without an identity counts for its peer address. Absent: no limit."""
    total: Limit | None = None
    """Rate limit of all requests together. Absent: no limit."""
    shared: Shared | None = None
    """Store through which several servers hold one identity, one model and one total limit together. Absent: each
    server has its own. Each server always has its own peer limits."""
    message_size: Size = Field(default=16 * MiB, ge=KiB, le=LARGEST_MESSAGE)
    """Largest message, before and after decompression."""
    inflight_bytes: Size = Field(default=256 * MiB, ge=KiB)
    """Bytes of all requests in flight, and of responses that clients have not read yet."""
    inflight_share: float = Field(default=0.5, gt=0, le=1)
    """Largest share of inflight_bytes that one peer or identity may hold while no other holds any. The share shrinks as
    less is free: with 0.5, eight callers that take all they can hold a ninth each, and a ninth stays free. With 1, one
    caller may take everything. A caller may always hold one message of message_size. The same share limits how many of
    an upstream's streams one caller may use."""
    connections: Connections = Connections.default()
    """Limits of connections. They are always on."""
    ipv6: Ipv6 = Ipv6.default()
    """How IPv6 addresses are counted. It is always on."""
    streams: int = Field(default=128, ge=1, le=10_000)
    """Concurrent streams of one connection."""
    timeouts: Timeouts = Timeouts.default()
    """Timeouts against slow peers. They are always on."""

    @model_validator(mode="after")
    def _one_message_fits(self) -> Self:
        if self.inflight_bytes < self.message_size:
            raise UnitError("inflight_bytes is smaller than message_size", "Raise inflight_bytes or lower message_size")
        return self
