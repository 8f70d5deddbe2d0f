"""Slow twin of the evidence kernel (native/modelward_native/detect): one model, plain Python, written to be read.

Lines of tables are lists, the learnt tables numpy arrays. Numbers that the kernel keeps in 16 bits are rounded here as
there, with the same dither; what it computes in single precision is computed in double.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tests.oracle.watch_tables import CELLS, GROUPS, P_EDGES, PLACES, RESOLUTIONS, Table, Tables

MASK = (1 << 64) - 1
PROJECTIONS, PER_HASH, FEATURES = 16, 8, 256
EXACT_LINES, LINES = 1 << 15, 1 << 14
TAG, YOUNG_ROWS, YOUNG_LESS, MOST, HYSTERESIS = 9.2, 300.0, 3.5, 28.0, 2.0
THRESHOLDS = (9.2, 18.4, 19.0, 20.0, 21.0, 24.0)
BLOCK = 6
UNKNOWN = 63
PHASES = ("measuring", "filling", "learning", "armed")


def mix(h: int) -> int:
    for _ in range(2):
        h = (h ^ h >> 32) * 0xD6E8FEB86659FD93 & MASK
    return h ^ h >> 32


def row_hash(secret: int, row: npt.NDArray[np.float32]) -> int:
    data = row.tobytes()
    h = secret ^ len(row)
    for at in range(0, len(data), 16):
        part = data[at : at + 16].ljust(16, b"\0")
        a, b = int.from_bytes(part[:8], "little"), int.from_bytes(part[8:], "little")
        product = (a ^ h) * (b ^ (secret | 1))
        h = (product & MASK) ^ (product >> 64)
    return mix(h)


def secret_number(secret: int, what: int, which: int) -> int:
    return mix(mix(secret ^ what) + which * 0x9E3779B97F4A7C15 & MASK)


@dataclass
class Geometry:
    """Signs (features taken, 16), and of each resolution salt, offsets and multipliers of a day."""

    secret: int
    features: int
    day: int
    taken: list[int] = field(init=False)
    signs: Table = field(init=False)
    salts: list[tuple[int, Table, list[int]]] = field(init=False)

    def __post_init__(self) -> None:
        n = min(self.features, FEATURES)
        self.taken = list(range(n))
        if self.features > n:
            for j in range(n):
                start, end = self.features * j // n, self.features * (j + 1) // n
                self.taken[j] = start + secret_number(self.secret, 100, j) % (end - start)
        self.salts = []
        for r in range(RESOLUTIONS):
            epoch = (self.day + r) // RESOLUTIONS * RESOLUTIONS + r
            numbers = [secret_number(self.secret, 2 + k, epoch) for k in range(PER_HASH)]
            offsets = np.array([number >> 40 for number in numbers]) / (1 << 24)
            self.salts.append((secret_number(self.secret, 1, epoch), offsets, [mix(number) | 1 for number in numbers]))
        bits = [secret_number(self.secret, 101, j) for j in range(n)]
        self.signs = np.array([[1.0 if b >> k & 1 else -1.0 for k in range(PROJECTIONS)] for b in bits])

    def project(self, row: npt.NDArray[np.float32]) -> Table:
        return row[self.taken].astype(float) @ self.signs

    def piece(self, r: int, v: Table, scale: float) -> int:
        h, offsets, multipliers = self.salts[r]
        half = v[(r & 1) * PER_HASH :][:PER_HASH] * scale + offsets
        for whole, multiplier in zip(np.floor(np.clip(half, -1e6, 1e6)).astype(int).tolist(), multipliers, strict=True):
            h += (whole & 0xFFFFFFFF) * multiplier
        return h & MASK


# ---- one row after the other


@dataclass
class Identity:
    key: int
    last: int
    since: int
    evidence: list[float] = field(default_factory=lambda: [0.0] * 6)
    own: float = 1.0
    step: int = 0
    until: int = 0
    strikes: int = 0
    day: int = 0
    registers: list[int] = field(default_factory=lambda: [0] * 32)
    distinct: float = 0.0
    spent: float = 0.0


@dataclass
class Piece:
    tag: int
    rows: int
    flips: int
    label: int
    identity: int
    time: int


@dataclass
class Around:
    """What the pieces say of a row."""

    near: list[int] = field(default_factory=lambda: [0] * RESOLUTIONS)
    flips: list[int] = field(default_factory=lambda: [0] * RESOLUTIONS)
    surprise: int = 0
    flip: int = 0
    first: int = -1
    hot: bool = False


@dataclass
class Surge:
    """Of a cell. young: which row of a young identity was its last that counted."""

    nats: float = 0.0
    at: int = 0
    young: int = 0
    until: int = 0
    asked: int = 0


@dataclass
class Fault:
    """That is no caller's doing, of one kind. sign: by name, what its rows of this kind are worth, sixteenths of a nat.
    raised: identities that it may have made suspicious, and when."""

    until: int = 0
    identities: int = 0
    failed: set[int] = field(default_factory=set)
    sign: dict[int, int] = field(default_factory=dict)
    raised: list[tuple[Identity, int]] = field(default_factory=list)


@dataclass
class Seen:
    step: int
    withheld: bool = False
    first_label: int = -1
    repeated: bool = False


def step_of(evidence: float, young: bool, before: int) -> int:
    step = 0
    for k, threshold in enumerate(THRESHOLDS, 1):
        at = threshold - (YOUNG_LESS if young and k > 1 else 0)
        if evidence >= at or (k <= before and evidence >= at - HYSTERESIS):
            step = k
    return step


@dataclass
class Learnt:
    """widths and radii are inverse; group: of each cell."""

    phase: str
    tables: Tables
    widths: Table
    radii: Table
    edges: Table
    group: Table


@dataclass
class Row:
    """at, prototype: its cell and its nearest prototype, -1 for none; label: -1 for none; now: tenths of a second."""

    values: npt.NDArray[np.float32]
    at: int
    prototype: int
    p: float
    label: int
    margin: float
    now: int


class Oracle:
    """One model in one phase, with what the kernel has learnt."""

    def __init__(self, geometry: Geometry, learnt: Learnt) -> None:
        self.geometry = geometry
        self.phase, self.tables, self.widths = PHASES.index(learnt.phase), learnt.tables, learnt.widths
        self.radii, self.edges, self.group = learnt.radii, learnt.edges, learnt.group
        self.identities: dict[int, Identity] = {}
        self.exact: dict[int, list[int]] = {}
        self.pieces: dict[tuple[int, int], list[Piece | None]] = {}
        self.regions = [[0.0] * 4 for _ in range(CELLS)]
        self.locked = [0] * CELLS
        self.surges = [Surge() for _ in range(CELLS)]
        self.young = 0
        self.faults = [Fault(), Fault()]
        self.window, self.usual = 0, 0
        self.asked: set[int] = set()
        self.p = np.zeros((CELLS + 1, 12), int)
        self.p_of_place = np.zeros((PLACES, 12), int)
        self.near = np.zeros((RESOLUTIONS, CELLS, 9), int)
        self.walk = np.zeros((CELLS, 50), int)
        self.flips = np.zeros((RESOLUTIONS, GROUPS, 5), int)

    def row(self, key: int, row: Row, weight: float = 1.0, block_for: int = 6000, acted: bool = True) -> Seen:
        now = row.now
        who = self.identities.setdefault(key, Identity(key, now, now))
        out = Seen(who.step)
        blocked = who.until > now
        if blocked and acted:
            return out
        e = list(who.evidence)
        if who.until and not blocked:
            who.until = 0
            e = [min(v, TAG) for v in e]
        pause = max(0, now - who.last) / 10
        e = [v - pause / 300 for v in e]
        who.last = max(now, who.last)
        number = row_hash(self.geometry.secret, row.values)
        noise = mix(number + now & MASK)
        dither, dither_own = (noise >> 40) / (1 << 24), (noise & 0xFFFFFF) / (1 << 24)
        self.count_distinct(who, number, weight)
        out.repeated = self.is_repeat(number)
        cell = row.at if row.at >= 0 else CELLS
        hashed = cell < CELLS and self.phase > 0
        around = self.look_around(row, key, repeated=out.repeated) if hashed else Around()
        level = sum(row.margin < edge for edge in self.edges)
        if out.repeated:
            self.keep(who, e, dither)
            if not blocked:
                self.take_step(who, e, now, block_for, out)
            if self.phase == 3 and hashed:
                around.hot &= max(e) > TAG / 2
                self.withhold(row, around, level, out, suspected=who.distinct < YOUNG_ROWS or max(e) > TAG / 2)
            return out
        bin_ = sum(row.p <= edge for edge in P_EDGES)
        place = row.prototype if row.at >= 0 else PLACES
        sixteenths, name = int(self.tables.s[place, bin_]), key >> 40 & 4095
        quiet = max(e) < TAG
        known = quiet and who.distinct >= YOUNG_ROWS
        if known:
            self.count_asking(name, now)
        tolerated = known and self.phase >= 1 and self.judge_fault(name, cell, sixteenths, who.own, now)
        s = min(sixteenths / 16, 1.0) if tolerated else sixteenths / 16
        near, flips = around.near, around.flips
        walk = around.surprise * 10 + level * 2 + around.flip if hashed else 0
        if self.phase >= 1:
            in_rows = 1 / 500 if who.distinct >= YOUNG_ROWS and max(e) < 18.4 else 0.0
            null = min(9.0, max(1.3, 1.3 * who.own))
            for k, expected in enumerate((5.0, 2.0)):
                other = max(expected, 1.4 * null)
                e[k] = min(MOST, max(0.0, e[k]) + math.log(null / other) + s * (1 / null - 1 / other))
            if known and max(e[:2]) >= TAG:
                for fault in self.faults:
                    if fault.sign.get(name, 0) >= 16:
                        fault.raised = [*fault.raised[-255:], (who, now)]
            share = max(min(0.02, pause / 1800), in_rows)
            own = who.own + (min(s, 8.0) - who.own) * share
            if not tolerated:
                who.own = math.floor(own * 4096 + dither_own) / 4096
        if self.phase == 3 and hashed:
            crowd = [2 if known and r > 0 and j in (3, 4) else j for r, j in enumerate(near)]
            for k in (0, 1):
                total = sum(math.exp(self.tables.near[cell, r, crowd[r], k] / 16) for r in range(RESOLUTIONS))
                e[2 + k] = min(MOST, max(0.0, e[2 + k]) + math.log(total / RESOLUTIONS))
                e[4 + k] = min(MOST, max(0.0, e[4 + k]) + self.tables.walk[cell, walk, k] / 16)
        self.keep(who, e, dither)
        if not blocked:
            self.take_step(who, e, now, block_for, out)
        if self.phase == 3 and hashed:
            suspected = who.distinct < YOUNG_ROWS or max(e) > TAG / 2
            if quiet:
                self.judge_region(cell, self.of_region(cell, walk, near, who.own, s), now)
            if suspected:
                self.judge_surge(cell, name, now)
            self.withhold(row, around, level, out, suspected=suspected)
        if not tolerated and max(e) < TAG and (self.phase < 3 or who.distinct >= 50):
            self.p[cell, bin_] += 1
            if place < PLACES:
                self.p_of_place[place, bin_] += 1
            if hashed:
                self.walk[cell, walk] += 1
                for r in range(RESOLUTIONS):
                    self.near[r, cell, near[r]] += 1
                    self.flips[r, self.group[cell], flips[r]] += 1
        return out

    def count_asking(self, name: int, now: int) -> None:
        """Of a quiet, established identity."""
        if now // 3000 > self.window:
            for fault in self.faults if now // 6000 > self.window // 2 else []:
                fault.failed = set()
            self.window, self.usual = now // 3000, max(256 * len(self.asked), self.usual - self.usual // 64)
            self.asked = set()
        self.asked.add(name)

    def judge_fault(self, name: int, cell: int, s: int, own: float, now: int) -> bool:
        """Whether a row of a quiet, established identity is tolerated. s: sixteenths of a nat."""
        mine = self.faults[0] if cell == CELLS else self.faults[1] if s >= 80 else None
        for fault in self.faults if mine is None else [mine]:
            gain = s * 1088 // max(4096, int(own * 4096))
            fault.sign[name] = min(128, max(0, fault.sign.get(name, 0) + gain - 7))
        if mine is None:
            return False
        if mine.sign[name] >= 72 and name not in mine.failed:
            mine.failed.add(name)
            failed = len(mine.failed)
            if failed >= 5 and 512 * failed >= max(256 * len(self.asked), self.usual):
                begins = mine.until <= now
                mine.identities = failed if begins else max(failed, mine.identities)
                mine.until = now + 6000
                if begins:
                    for each, at in mine.raised:
                        if now - at <= 6000:
                            self.forgive(each, now)
                    mine.raised = [(each, at) for each, at in mine.raised if now - at > 6000]
        return mine.until > now

    def forgive(self, who: Identity, now: int) -> None:
        who.evidence[:2] = [min(v, math.floor(TAG / 2 * 2048) / 2048) for v in who.evidence[:2]]
        if who.until > now:
            who.until, who.strikes = 0, max(0, who.strikes - 1)

    def count_distinct(self, who: Identity, number: int, weight: float) -> None:
        if who.day != self.geometry.day:
            who.day, who.registers, who.spent = self.geometry.day, [0] * 32, 0.0
        h = mix(number ^ who.key)
        register, rest, rank = h & 31, h >> 5, 1
        while rank < 15 and not rest & 1:
            rank, rest = rank + 1, rest >> 1
        if rank > who.registers[register]:
            chance = sum(2.0**-k for k in who.registers if k < 15) / 32
            rows = 1 / chance if chance else 0
            who.distinct += rows
            who.spent += rows * weight
            who.registers[register] = rank

    def is_repeat(self, number: int) -> bool:
        line = self.exact.setdefault(number % EXACT_LINES, [0] * 16)
        tag = number >> 32 | 1
        found = tag in line
        line.remove(tag) if found else line.pop()
        line.insert(0, tag)
        return found

    def withhold(self, row: Row, around: Around, level: int, out: Seen, *, suspected: bool) -> None:
        out.withheld = around.hot and suspected
        if self.locked[row.at] > row.now:
            out.withheld |= suspected or (around.surprise >= 2 and level >= 1) or bool(around.flip)
        out.first_label = around.first
        if suspected and self.surges[row.at].until > row.now:
            out.withheld |= level >= 1 or bool(around.flip)
            if around.first < 0:
                out.first_label = row.label

    def judge_surge(self, cell: int, who: int, now: int) -> None:
        surge, (elsewhere, here) = self.surges[cell], self.tables.surge[cell]
        self.young += 1
        if here <= 0 or who == surge.asked:
            return
        surge.asked = who
        nats = surge.nats + (self.young - surge.young - 1) * elsewhere - (now - surge.at) / 100
        surge.nats, surge.young, surge.at = min(20.0, max(0.0, nats) + here), self.young, now
        if surge.nats >= TAG:
            surge.until = now + 6000

    def look_around(self, row: Row, key: int, *, repeated: bool) -> Around:
        t, v, time, cell = self.tables, self.geometry.project(row.values), row.now // 40 & 65535, row.at
        who, mine = key >> 40 & 4095, UNKNOWN if row.label < 0 else row.label % UNKNOWN
        out, met = Around(), False
        for r in reversed(range(RESOLUTIONS)):
            raw = self.geometry.piece(r, v, float(self.widths[r]) * float(self.radii[cell]))
            h = mix((raw ^ (0 if r else key)) + cell * 0xD6E8FEB86659FD93 & MASK)
            line = self.pieces.setdefault((r, h % LINES), [None] * 8)
            ages = [time - p.time & 65535 if p else 65536 for p in line]
            place = next((i for i, p in enumerate(line) if p and p.tag == h >> 44), None)
            piece = None if place is None or ages[place] > 5400 else line[place]
            if piece is None:
                if repeated:
                    continue
                line[ages.index(max(ages)) if place is None else place] = Piece(h >> 44, 1, 0, mine, who, time)
                continue
            rows = piece.rows - repeated
            if rows == 0:
                continue
            j = 1 + sum(rows >= n for n in (3, 8, 24))
            flips = sum(piece.flips >= n for n in (1, 2, 4, 8))
            anyone = int(t.surprise[cell, r, j])
            out.hot |= bool(flips >= t.flip_hot[r, self.group[cell]]) or (anyone >= 4 and rows >= 8 and r > 0)
            if anyone >= 3 and r > 1 and out.first < 0 and piece.label != UNKNOWN:
                out.first = piece.label
            j += 4 if piece.identity == who and r > 0 and not repeated else 0
            out.surprise = max(out.surprise, int(t.surprise[cell, r, j]))
            differs = int(piece.label != mine and UNKNOWN not in (piece.label, mine))
            out.flip = out.flip if met else differs
            met = True
            if repeated:
                continue
            out.near[r], out.flips[r] = j, flips
            piece.rows, piece.flips = min(63, piece.rows + 1), min(15, piece.flips + differs)
            piece.identity, piece.time = who, time
        return out

    def of_region(self, cell: int, walk: int, near: list[int], own: float, s: float) -> list[float | None]:
        """Nats that a row adds to each signal of its cell; None: the signal is left as it is."""
        walks = [self.tables.walk[cell, walk, 2 + k] / 16 for k in (0, 1)]
        unlike = math.log(1.3 / 3) + s * (1 / 1.3 - 1 / 3) if own < 1.3 else None
        total = sum(math.exp(self.tables.near[cell, r, near[r], 2] / 16) for r in range(1, RESOLUTIONS))
        return [*walks, unlike, math.log(total / (RESOLUTIONS - 1))]

    def judge_region(self, cell: int, nats: list[float | None], now: int) -> None:
        e = self.regions[cell]
        for k, more in enumerate(nats):
            if more is not None:
                e[k] = min(20.0, max(0.0, e[k]) + more)
        if max(e) >= 10:
            self.locked[cell] = now + 6000

    def keep(self, who: Identity, e: list[float], dither: float) -> None:
        who.evidence = [min(MOST, math.floor(v * 2048 + dither) / 2048) if v > 0 else 0.0 for v in e]

    def take_step(self, who: Identity, e: list[float], now: int, block_for: int, out: Seen) -> None:
        out.step = step_of(max(e), who.distinct < YOUNG_ROWS, who.step)
        if out.step == BLOCK:
            who.until = now + (block_for << min(8, who.strikes))
            who.strikes = min(255, who.strikes + 1)
        if out.step != who.step:
            who.step, who.since = out.step, now
        elif who.strikes and out.step <= 1 and now - who.since >= 864000:
            who.strikes, who.since = who.strikes - 1, now
