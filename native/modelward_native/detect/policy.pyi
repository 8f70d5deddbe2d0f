MODES: tuple[str, ...]
NEAR_DUPLICATES: tuple[str, ...]
MOST_PATTERNS: int

Native = tuple[int | None, str, str, bool, int | None, str, int, int]

class Policies:
    def __init__(self, policies: list[Native]) -> None: ...
    @property
    def count(self) -> int: ...
