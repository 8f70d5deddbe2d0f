from typing import Any

from modelward_native.backend.engine import Engine

BUDGETS: tuple[str, ...]
MOST_LIMITS: int
MOST_BUDGETS: int

class OutputGuards:
    def __init__(self, engine: Engine, version: str, outputs: list[dict[str, Any]]) -> None: ...
    @property
    def held(self) -> int: ...
    def take_events(self) -> list[tuple[str, str, int, int, float, float, str]]: ...
