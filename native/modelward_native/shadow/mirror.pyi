"""The tap: which requests a shadow is asked too, and the pairs that its answers make with those of the version."""

from collections.abc import Sequence

from modelward_native.request.served import Served

class Shadow:
    """One shadow of a model under one configuration.

    served: what answers; of an engine that serves nobody else. fingerprint: figures of shadows with another one are
    not its. fraction: share of requests. anomalous: those that are flagged alone, those that are not, or None.
    patterns: names of callers, * stands for any characters; empty: everybody. kinds: what may prove these names:
    certificate, token, key. deadline: ns. places: requests under way. room: their bytes. warmup: pairs that are not
    counted. tolerance: relative difference up to which numbers agree.
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
        places: int = 64,
        room: int = 64 << 20,
        warmup: int = 0,
        tolerance: float = 0.001,
    ) -> None: ...
    @property
    def under_way(self) -> tuple[int, int]:
        """Requests, and bytes that are held for them."""

def mirror(served: Served, shadow: Shadow, content: bytes) -> None:
    """The shadow gets the requests for this version, too; to be said before the version is served.

    content: what the version is of: figures of its pairs with the shadow are not those of another content. Raises
    ValueError where a shadow that runs here takes other inputs.
    """
