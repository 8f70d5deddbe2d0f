from collections.abc import Callable

from native.served import Served

class Directory:
    explain: Callable[[str], str] | None
    def __init__(self, models: list[list[Served]]) -> None: ...
    @property
    def served(self) -> list[Served]: ...
