from collections.abc import Sequence

from modelward_native.region.region import Region

RING: int
HELD: int
HELD_OF_ONE: int

class Steps:
    def __init__(self, region: Region) -> None: ...
    def write(
        self,
        key: int,
        kind: str,
        name: str,
        model: str,
        before: str,
        after: str,
        cause: str,
        evidence: Sequence[float],
        at: int,
        spent: float = 0.0,
    ) -> None: ...

class Held:
    def take(self, identity: int) -> int | None: ...
    def give_back(self, place: int) -> None: ...
