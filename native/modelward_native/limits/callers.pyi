from modelward_native.region.region import Region

LEVELS: tuple[str, ...]
Row = tuple[int, str, str, tuple[int, int, int, int], int, int, int]

def read(region: Region) -> tuple[list[Row], list[Row]]: ...

class Table:
    def note(self, key: int, weight: int = ...) -> bool: ...
    def weights(self) -> dict[int, tuple[int, int]]: ...
