from dataclasses import dataclass

from modelward_native.region.region import Region

@dataclass(frozen=True)
class Run:
    name: str
    version: str
    digest: str
    dims: tuple[int, ...]
    signal: int
    loading: bool = False
    callers: tuple[int, ...] = ()
    more: bool = False
    pooled: bool = False

def take_runs(region: Region, slot: int) -> list[Run]: ...
