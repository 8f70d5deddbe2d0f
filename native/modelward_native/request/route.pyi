from collections.abc import Callable, Container, Iterable

from modelward_native.request.served import Served

class Directory:
    explain: Callable[[str], str] | None
    def __init__(
        self,
        models: list[list[Served]],
        weights: dict[str, dict[str, int]] | None = None,
        sticky_header: bytes = b"",
        by_request: Container[str] = ...,
        refused: Iterable[str] = ...,
    ) -> None: ...
    @property
    def served(self) -> list[Served]: ...
