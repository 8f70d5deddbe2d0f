"""What each detector does on each table, in parts that are stored as they end: a run that was cut off goes on there."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from loadtests.detection.shifts import KINDS, NAMES, Floats, Traffic
from modelward.drift import bets, evidence, ranks, samples, signals, table, watch
from modelward.drift.evidence import Evidence
from modelward.drift.ranks import BINS, Ranks
from modelward.drift.signals import Signals
from modelward.drift.table import Column, Kind, Table
from modelward.drift.watch import LARGEST_BLOCK, Watch
from modelward.score import kmeans

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache"
STORE = ROOT / "build" / "drift"
PEERS = {"adwin": "river", "kswin": "river", "mmd": "alibi", "cvm": "alibi"}
"""By detector the environment below .cache that has it: `scripts/peers river alibi`."""
SCRIPT = Path(__file__).parent / "drift_peers.py"
CALIBRATED, STATED, CAREFUL = "modelward", "modelward, 1 in 1,000", "modelward, 1 in 10 million"
RATE, CAREFUL_RATE = 1_000, 10_000_000
RATES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0)
"""Of CALIBRATED: the first that keeps the rate on the rows before a change is taken, as it is done for ADWIN."""
CALIBRATED_ROWS = 20_000
TOLERANCE = 0.005
BEFORE = 2_048
LONGEST = 2_000
QUIET_ROWS = 5_000
BLOCK = 16
RANKED = 1_024
PROCESSES = 2
TIMEOUT = 3_600
UNCHANGED = "unchanged"
OURS = (bets, evidence, ranks, samples, signals, table, watch, kmeans)
OUR_SOURCES = [Path(str(each.__file__)).read_bytes() for each in OURS] + [Path(__file__).read_bytes()]
THEIR_SOURCES = [SCRIPT.read_bytes()]
"""What decides about a part beside its rows, as it was when this was imported."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Part:
    """What a detector did on a table. alarms: false ones in `rows` rows; delays: of each change, -1 where it was not
    told; seconds: that it took."""

    table: str
    detector: str
    rows: int
    alarms: int
    delays: Sequence[int]
    seconds: float


@dataclass(frozen=True)
class Task:
    """quiet: rows without a change, of UNCHANGED."""

    table: str
    detector: str
    folder: Path
    quiet: int = 0


def measured(tasks: Sequence[Task], told: Callable[[Part, int], None]) -> list[Part]:
    """In two processes, in the order of the tasks. told: called with each part as it ends and how many have ended."""
    os.environ.update(ONE_THREAD)
    STORE.mkdir(parents=True, exist_ok=True)
    found: dict[Task, Part] = {}
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(measure, task): task for task in tasks}
        try:
            for ended in as_completed(waiting):
                found[waiting[ended]] = ended.result()
                told(ended.result(), len(found))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [found[task] for task in tasks]


def measure(task: Task) -> Part:
    """From the store, if the same was measured before: the same rows by the same code. Raises shifts.Absent."""
    traffic = Traffic.load(task.table, task.folder)
    rows = streams(traffic, NAMES.index(task.table)) if task.detector != UNCHANGED else {"all": traffic.rows}
    key = _key(task, rows)
    file = STORE / f"{task.table}.{task.detector}.{task.quiet}.json".replace(" ", "-").replace(",", "")
    stored = json.loads(file.read_text()) if file.exists() else {}
    if stored.get("key") == key:
        return Part(**stored["part"])
    begun = time.monotonic()
    delays: list[int] = []
    if task.detector == UNCHANGED:
        alarms = unchanged(traffic, task.quiet, NAMES.index(task.table))
    elif task.detector in PEERS:
        alarms, delays = _theirs(task, rows)
    else:
        alarms, delays = ours(rows, _rate(task.detector, rows["reference"]))
    seconds = time.monotonic() - begun
    part = Part(task.table, task.detector, task.quiet or QUIET_ROWS, alarms, delays, round(seconds, 1))
    written = file.with_suffix(f".{os.getpid()}")
    written.write_text(json.dumps({"key": key, "part": asdict(part)}))
    written.replace(file)
    return part


def _key(task: Task, rows: Mapping[str, Floats]) -> str:
    digest = hashlib.sha256(f"{task.table} {task.detector} {task.quiet}".encode())
    for source in THEIR_SOURCES if task.detector in PEERS else OUR_SOURCES:
        digest.update(source)
    for name, values in rows.items():
        digest.update(name.encode() + values.tobytes())
    return digest.hexdigest()


def streams(traffic: Traffic, seed: int) -> dict[str, Floats]:
    """`reference`, rows before the change; `quiet`, without one; `stream0`, ...: rows after each change of KINDS."""
    rng = np.random.default_rng(seed)
    found = {"reference": traffic.draw(rng, BEFORE), "quiet": traffic.draw(rng, QUIET_ROWS)}
    changes = [(kind, size) for kind, sizes in KINDS.items() for size in sizes]
    for i, (kind, size) in enumerate(changes):
        found[f"stream{i}"] = traffic.changed(kind, size, i)(rng, LONGEST)
    return found


def _rate(detector: str, reference: Floats) -> float:
    """Requests between false alarms that the watch is set to."""
    if detector != CALIBRATED:
        return RATE if detector == STATED else CAREFUL_RATE
    rows = reference[np.random.default_rng(0).integers(0, len(reference), CALIBRATED_ROWS)]
    for rate in RATES:
        tried = _watch(reference, rate)
        if tried.raised is None and _alarms(tried, rows) <= CALIBRATED_ROWS / RATE:
            return rate
    raise RuntimeError("more false alarms than stated")


def ours(rows: Mapping[str, Floats], false_alarms: float) -> tuple[int, list[int]]:
    """False alarms without a change, and delays."""
    first = _watch(rows["reference"], false_alarms)
    return _alarms(first, rows["quiet"]), [_delay(first, rows[f"stream{i}"]) for i in range(len(rows) - 2)]


def _alarms(first: Watch, rows: Floats) -> int:
    """Each is followed by a new beginning, as those of the other detectors are."""
    tried, alarms = copy.deepcopy(first), 0
    for block in _blocks(rows):
        tried.add(block)
        if tried.raised is not None:
            tried, alarms = copy.deepcopy(first), alarms + 1
    return alarms


def _delay(first: Watch, rows: Floats) -> int:
    tried = copy.deepcopy(first)
    for n, block in enumerate(_blocks(rows)):
        tried.add(block)
        if tried.raised is not None:
            return (n + 1) * BLOCK
    return -1


def _watch(reference: Floats, false_alarms: float) -> Watch:
    made = Watch(_columns(reference), false_alarms, TOLERANCE)
    made.add(_table(reference[:1024], 0))
    for begin in range(1024, len(reference), 64):
        made.add(_table(reference[begin : begin + 64], begin))
    return made


def _blocks(rows: Floats) -> Iterator[Table]:
    for begin in range(0, len(rows), BLOCK):
        # time passes between blocks, so that each is judged at once
        yield _table(rows[begin : begin + BLOCK], 1_000 * begin + 1_000_000)


def _table(rows: Floats, begin: float) -> Table:
    """Each row of another identity."""
    count = np.arange(len(rows))
    return Table(_columns(rows), rows, count.astype(np.uint64), np.float64(begin) + count * np.float64(10), count)


def _columns(rows: Floats) -> tuple[Column, ...]:
    return tuple(Column(f"x{i}", Kind.NUMBER) for i in range(rows.shape[1]))


def _theirs(task: Task, rows: Mapping[str, Floats]) -> tuple[int, list[int]]:
    file = STORE / f"{task.table}.{task.detector}.npz"
    np.savez(file, allow_pickle=False, **rows)
    try:
        python = CACHE / PEERS[task.detector] / "bin" / "python"
        command = [str(python), str(SCRIPT), str(file), task.detector]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    finally:
        file.unlink()
    if ended.returncode:
        raise RuntimeError(f"{task.detector} has failed: {ended.stderr.strip()[-500:]}")
    told = json.loads(ended.stdout.splitlines()[-1])
    return told["alarms"], told["delays"]


def unchanged(traffic: Traffic, rows: int, seed: int) -> int:
    """Alarms at 1 in CAREFUL_RATE where nothing changes: what Watch does, on bins that are found once for all rows."""
    rng = np.random.default_rng(seed)
    first = traffic.draw(rng, 1024)
    learnt = Signals.learn(_table(first[:512], 0), rng)
    every = learnt.bins(learnt.matrix(_table(traffic.rows, 0)))
    among = Ranks(np.zeros((len(learnt.all), BINS), np.int64), rng)
    among.levels(learnt.bins(learnt.matrix(_table(first[512:], 0))), learn=True)
    found, alarms = Evidence(len(learnt.all), CAREFUL_RATE, TOLERANCE), 0
    for begin in range(0, rows, RANKED):
        drawn = every[rng.integers(0, len(every), min(RANKED, rows - begin))]
        levels = among.levels(drawn, learn=True)  # a row's is the same however many are ranked at a time
        for at in range(0, len(levels), LARGEST_BLOCK):
            block = levels[at : at + LARGEST_BLOCK]
            found.add(block, len(block), 0.0)
            if found.nats().max() >= found.alarm_at:
                alarms += 1
                found = Evidence(len(learnt.all), CAREFUL_RATE, TOLERANCE)
    return alarms
