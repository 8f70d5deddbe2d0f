"""Slow twins of the limiter: SipHash as published, and GCRA in the form the kernel does not use.

I.371 gives the algorithm twice, as virtual scheduling (the kernel) and as a continuous-state leaky bucket (here), and
says that they decide alike. The bucket drains one unit per nanosecond; a request adds one interval.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

HOLD_NS = 1_000_000_000
LONGEST_NS = 1 << 56
M64 = (1 << 64) - 1


def siphash(key: bytes, message: bytes, c: int = 1, d: int = 3) -> int:
    """SipHash-c-d of Aumasson and Bernstein, 2012, section 2. key: 16 bytes."""
    return siphash_words(key, message, c, d, wide=False)[0]


def siphash_words(key: bytes, message: bytes, c: int, d: int, *, wide: bool) -> list[int]:
    """wide: the 128-bit variant of the authors' reference, as two words."""
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    v0, v1 = k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D
    v2, v3 = k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573

    if wide:
        v1 ^= 0xEE

    def rotl(x: int, by: int) -> int:
        return ((x << by) | (x >> (64 - by))) & M64

    def sipround() -> None:
        nonlocal v0, v1, v2, v3
        v0 = (v0 + v1) & M64
        v2 = (v2 + v3) & M64
        v1, v3 = rotl(v1, 13) ^ v0, rotl(v3, 16) ^ v2
        v0 = rotl(v0, 32)
        v2 = (v2 + v1) & M64
        v0 = (v0 + v3) & M64
        v1, v3 = rotl(v1, 17) ^ v2, rotl(v3, 21) ^ v0
        v2 = rotl(v2, 32)

    padded = message + bytes(7 - len(message) % 8) + bytes([len(message) & 0xFF])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        v3 ^= word
        for _ in range(c):
            sipround()
        v0 ^= word
    v2 ^= 0xEE if wide else 0xFF
    words = []
    for last in (0, 0xDD)[: 1 + wide]:
        v1 ^= last
        for _ in range(d):
            sipround()
        words.append(v0 ^ v1 ^ v2 ^ v3)
    return words


@dataclass(frozen=True)
class Rate:
    """One limit: `interval` ns per request, `tolerance` ns that requests may come early in a row.

    Where timed, `interval` is of 2**20 ns of backend time, and `most` what may be owed of it.
    """

    interval: int
    tolerance: int
    timed: bool = False
    most: int = 0

    @classmethod
    def make(cls, per_second: float, burst: int) -> "Rate":
        interval = max(1, int(1e9 / per_second + 0.5))
        tolerance = min((burst - 1) * interval, LONGEST_NS)
        return cls(interval, tolerance, False, tolerance + interval)

    @classmethod
    def make_timed(cls, share: float, burst_ns: int) -> "Rate":
        burst = burst_ns / share
        return cls(
            int(2**20 / share + 0.5), min(int(burst), LONGEST_NS), True, min(int(burst + 1e10 / share), LONGEST_NS)
        )

    def charge(self, cost: int) -> int:
        return min(cost * self.interval >> 20, self.most) if self.timed else cost * self.interval


@dataclass
class Bucket:
    level: int = 0  # ns of work in it
    drained: int = 0  # when it was last drained, time as the oracle counts it


class Oracle:
    """Any number of keys, each remembered for ever."""

    def __init__(self) -> None:
        self.buckets: dict[Hashable, Bucket] = {}
        self.seen = 0
        self.now = 0

    def move_time(self, now_ns: int) -> None:
        """Small steps back stand still until the clock has caught up; large ones are a new reference."""
        step = now_ns - self.seen
        if step > 0:
            self.now += min(step, LONGEST_NS)
        if step > 0 or step < -HOLD_NS:
            self.seen = now_ns

    def wait(self, key: Hashable, rate: Rate, cost: int = 1) -> int | None:
        """ns until `cost` requests conform, 0 if now, None if never."""
        bucket = self.buckets.setdefault(key, Bucket(0, self.now))
        bucket.level = max(0, bucket.level - (self.now - bucket.drained))
        bucket.drained = self.now
        bucket.level = min(bucket.level, rate.most)
        if rate.timed:
            return max(0, bucket.level + min(rate.charge(cost), rate.tolerance) - rate.tolerance)
        before_last = (cost - 1) * rate.interval
        if before_last > rate.tolerance:
            return None
        return max(0, bucket.level + before_last - rate.tolerance)

    def admit(
        self, claims: Sequence[tuple[str, Hashable, Rate]], cost: int = 1, backend_ns: int = 1
    ) -> tuple[str, int | None] | None:
        """(level, key, rate) each; None and all charged, or the first of the longest waiting levels and its wait."""
        waits = [(name, self.wait((name, key), rate, backend_ns if rate.timed else cost)) for name, key, rate in claims]
        refused = [w for w in waits if w[1] != 0]
        if refused:
            return max(refused, key=lambda w: float("inf") if w[1] is None else w[1])
        for name, key, rate in claims:
            self.buckets[name, key].level += rate.charge(backend_ns if rate.timed else cost)
        return None

    def correct(self, claims: Sequence[tuple[str, Hashable, Rate]], charged_ns: int, took_ns: int) -> None:
        """What was charged of backend time took another: the difference, as far as it may be owed or is owed still."""
        for name, key, rate in claims:
            if rate.timed:
                self.wait((name, key), rate)  # drained up to now
                bucket = self.buckets[name, key]
                more = rate.charge(max(took_ns, 5000)) - rate.charge(charged_ns)
                bucket.level = max(0, min(bucket.level + more, rate.most))
