"""A shadow of a model, and what links a version to it."""

from collections.abc import Sequence

from modelward_native.request.served import Served

class Shadow:
    """One shadow of a model under one configuration.

    served: what answers; of an engine that answers nothing else. fingerprint: stats of shadows with another one are
    not its. fraction: share of requests. anomalous: those that are flagged alone, those that are not, or None.
    patterns: names of callers, * stands for any characters; empty: all. kinds: what may prove these names:
    certificate, token, key. deadline: ns. permits: requests in flight. bytes_limit: their bytes. warmup: pairs that are
    not counted. tolerance: relative difference up to which numbers agree.
    """

    served: Served
    name: str
    fingerprint: bytes
    def __init__(
        self,
        served: Served,
        name: str,
        fingerprint: bytes,
        *,
        fraction: float = 1.0,
        anomalous: bool | None = None,
        patterns: Sequence[str] = (),
        kinds: Sequence[str] = ("certificate", "token", "key"),
        deadline: int = 1_000_000_000,
        permits: int = 64,
        bytes_limit: int = 64 << 20,
        warmup: int = 0,
        tolerance: float = 0.001,
    ) -> None: ...
    @property
    def in_flight(self) -> tuple[int, int]:
        """Requests, and bytes that are held for them."""

def link_shadow(served: Served, shadow: Shadow, content: bytes) -> None:
    """From now on the shadow gets the requests for this version, too. To be called before the version is served.

    content: what the version is of: stats of its pairs with the shadow are not those of another content. Raises
    ValueError where a shadow that runs here takes other inputs.
    """
