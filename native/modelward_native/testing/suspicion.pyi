from modelward_native.detect.suspicion import Suspicion as Base

class Suspicion(Base):
    def put(
        self,
        key: int,
        now_ns: int,
        evidence: dict[str, float] | None = None,
        distinct: float = 0.0,
        blocked: float = 0.0,
        strikes: int = 0,
        spends: str = "observe",
    ) -> bool: ...
    def has(self, key: int) -> bool: ...
    def again(self, key: int, found: int, now_ns: int) -> int: ...

def step_of(evidence: float, young: bool, before: str) -> str: ...
