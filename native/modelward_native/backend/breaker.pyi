from typing import Final

STATES: Final[tuple[str, ...]]

class Policy:
    def __init__(
        self,
        failures: int = 5,
        success_rate: float = 0.5,
        volume: int = 20,
        window: int = 10_000_000_000,
        ejection: int = 10_000_000_000,
        longest_ejection: int = 300_000_000_000,
        max_inflight: int = 1024,
    ) -> None: ...
    @property
    def max_inflight(self) -> int: ...
