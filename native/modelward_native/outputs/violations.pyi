from modelward_native.region.region import Region

KINDS: tuple[str, ...]
ACTIONS: tuple[str, ...]
PREFIX: bytes
SHARES_PREFIX: bytes

def violations(region: Region) -> dict[tuple[str, str], dict[tuple[str, str], int]]: ...
def budgets_used(region: Region, now: int) -> dict[tuple[str, str], float]: ...
