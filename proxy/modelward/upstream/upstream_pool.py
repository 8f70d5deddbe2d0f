"""The connections that models share: which models, and what they are sent to."""

from msgspec import Struct

from modelward.config.upstream import UpstreamAddress
from modelward.upstream.group import Group
from modelward_native.backend.pool import Pool


class PoolKey(Struct, frozen=True):
    """Models with equal keys share their connections.

    share: of requests, those that may be hedged. resends: whether requests that were begun may be sent again. own: the
    one whose alone the connections are: a shadow, which must not be able to spoil another's, or a model with a canary,
    by which its endpoints are judged; "" for none. is_shadow: which of the two.
    """

    addresses: tuple[UpstreamAddress, ...]
    share: float = 0.0
    resends: bool = False
    own: str = ""
    is_shadow: bool = False

    @property
    def has_canary(self) -> bool:
        return bool(self.own) and not self.is_shadow


class UpstreamPool(Struct, frozen=True):
    """What one or more models are sent to: the addresses as configured, and the endpoints behind them."""

    groups: tuple[Group, ...]
    pool: Pool
    share: float
    resends: bool
    shadow: bool  # no client waits for its answers
    has_canary: bool  # its endpoints are judged by one

    @classmethod
    def of(cls, key: PoolKey, before: "UpstreamPool | None" = None) -> "UpstreamPool":
        """before: the pool that it takes the place of, whose endpoints stay where the addresses do."""
        known = {group.address: group for group in before.groups} if before else {}
        # what is known is in use: it changes when the pool is served (EndpointManagers.follow)
        groups = tuple(known.get(address) or Group(address, key.has_canary) for address in dict.fromkeys(key.addresses))
        pool = before.pool if before else Pool([], key.share, key.resends)
        return cls(groups, pool, key.share, key.resends, key.is_shadow, key.has_canary)
