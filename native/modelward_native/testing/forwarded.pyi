"""Peers behind trusted proxies, and the places that they take in their networks: for tests."""

SITE_BUCKETS: int
SITE_WAYS: int

def peer(value: bytes, trusted: list[tuple[bytes, int]]) -> bytes | None: ...

class Sites:
    def __init__(self, most: int) -> None: ...
    def enter(self, network: int, member: int, most: int, now_ns: int) -> bool: ...
