"""For whom limits differ: the overrides of the configuration, numbered as the data plane knows them."""

import ipaddress

from modelward.config.access import pattern, sources
from modelward.config.limits import Limits
from modelward.config.proxies import networks
from modelward.config.rate_limit import EVERY_IDENTITY, Share

NOTHING = Share()
NOT_SAID = (0, 0)


class Overrides:
    """`native` is for the limiter: first the limits of peers, then those of identities.

    `networks`, for the listener, says whose the first ones are, the longest prefix before others; `share`, for access,
    whose the others are. `priority` is what requests of all others may ask for, the highest and the lowest.
    """

    def __init__(self, limits: Limits) -> None:
        peers = limits.peer.overrides if limits.peer is not None else {}
        identities = limits.identity.overrides if limits.identity is not None else {}
        self.priority = limits.identity.priority if limits.identity is not None else EVERY_IDENTITY
        ordered = sorted(peers, key=lambda text: -_prefix(text))
        self.networks = networks(tuple(ordered))
        self.native = [peers[text].native for text in ordered]
        self._shares = []
        for name in sorted(identities, key=lambda name: ("*" in name, -len(name.replace("*", "")))):
            share, number = identities[name], 0
            if share.limits:
                self.native.append(share.native)
                number = len(self.native)
            self._shares.append(
                (sources(share.by), pattern(name), (number, share.weight, *(share.priority or NOT_SAID)))
            )

    def share(self, source: str, name: str) -> tuple[int, int, int, int]:
        """Of an identity: number of its limit, weight, highest and lowest priority; 0: as all have it."""
        found = (values for proofs, fits, values in self._shares if source in proofs and fits.fullmatch(name))
        return next(found, (0, NOTHING.weight, *NOT_SAID))


def _prefix(text: str) -> int:
    network = ipaddress.ip_network(text)
    return network.prefixlen + (96 if network.version == 4 else 0)
