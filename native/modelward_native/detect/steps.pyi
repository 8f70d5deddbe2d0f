from modelward_native.region.region import Region

Event = tuple[int, str, str, str, str, str, str, dict[str, float], float, int, str]

def read(region: Region, read_so_far: dict[int, int]) -> tuple[list[Event], int]: ...
