"""A limiter that Python asks and charges, and what that costs: for tests and tools."""

from modelward_native.limits.limit import Limiter as Base

LEVELS: tuple[str, str, str, str]

class Meter:
    def __init__(self, rate: float, burst: int, timed: bool = False) -> None: ...

class Limiter(Base):
    def key(self, level: str, name: bytes) -> int: ...
    def check(self, peer: bytes, now_ns: int) -> int: ...
    def request(
        self,
        now_ns: int,
        peer: bytes,
        identity: bytes | None = None,
        model: Meter | None = None,
        cost: int = 1,
        backend_ns: int = 1,
    ) -> tuple[str, int | None] | None: ...
    def correct(
        self,
        now_ns: int,
        charged_ns: int,
        took_ns: int,
        peer: bytes,
        identity: bytes | None = None,
        model: Meter | None = None,
    ) -> None: ...
    @property
    def bytes(self) -> int: ...
    @property
    def overflowed(self) -> int: ...

def request_many(limiter: Base, first: int, count: int, now_ns: int) -> int: ...
def measure_admit(
    limiter: Base, model: Meter, peers: int, rounds: int, step_ns: int, backend_ns: int = 1
) -> tuple[float, float]: ...
def measure_hash(limiter: Base, name: bytes, rounds: int) -> float: ...
