from modelward_native.region.region import Region

LEVELS: tuple[str, ...]
Row = tuple[int, str, str, tuple[int, int, int, int], int, int, int]

def read(region: Region) -> tuple[list[Row], list[Row]]: ...
def unwanted(region: Region) -> tuple[list[Row], list[Row], list[Row]]: ...
