"""`python -m loadtests.drift`: after how many rows a change is told, beside other detectors; and false alarms."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
from rich.console import Console

from loadtests.detection.shifts import KINDS, NAMES, Floats, Traffic
from loadtests.detection.tables import VARIABLE, Absent
from loadtests.tools import machine, results
from loadtests.tools.results import Bar, table
from modelward.drift.evidence import Evidence
from modelward.drift.ranks import BINS, Ranks
from modelward.drift.signals import Signals
from modelward.drift.table import Column, Kind, Table
from modelward.drift.watch import Watch

CACHE = Path(__file__).parents[1] / ".cache"
PEERS = {"adwin": "river", "kswin": "river", "mmd": "alibi", "cvm": "alibi"}
"""By detector the environment below .cache that has it: `scripts/peers river alibi`."""
SCRIPT = Path(__file__).parent / "detection" / "drift_peers.py"
OURS, CAREFUL = "modelward", "modelward, 1 in 10 million"
RATE, CAREFUL_RATE = 1_000, 10_000_000
TOLERANCE = 0.005
BEFORE = 2_048
LONGEST = 2_000
QUIET_ROWS = 5_000
BLOCK = 16
QUIET_BLOCK = 1_024
SIZES = ("small", "middle", "large")
TIMEOUT = 3_600

METHOD = f"""\
Ten tables of ADBench, at most ten columns of each; traffic is drawn from them with replacement. After {BEFORE:,} rows
it changes: six kinds of change in three sizes (`loadtests/detection/shifts.py`). Delay: rows until the change is told,
{LONGEST:,} where it is not told by then. All detectors see the same rows and are set to one false alarm in {RATE:,}
rows, by what they state themselves; ADWIN, by what it does on the rows before the change. `false alarms`: in
{QUIET_ROWS:,} rows of each table without change. Modelward judges rows in blocks of {BLOCK}; it is measured at 1 in
{CAREFUL_RATE:,} rows too."""


@dataclass(frozen=True)
class Found:
    """delay: -1 where it was not told."""

    table: str
    detector: str
    kind: str
    size: str
    delay: int


@dataclass(frozen=True)
class Quiet:
    table: str
    detector: str
    rows: int
    alarms: int


def streams(traffic: Traffic, seed: int) -> dict[str, Floats]:
    rng = np.random.default_rng(seed)
    found = {"reference": traffic.draw(rng, BEFORE), "quiet": traffic.draw(rng, QUIET_ROWS)}
    changes = [(kind, size) for kind, sizes in KINDS.items() for size in sizes]
    for i, (kind, size) in enumerate(changes):
        found[f"stream{i}"] = traffic.changed(kind, size, i)(rng, LONGEST)
    return found


def ours(rows: Mapping[str, Floats], false_alarms: int) -> tuple[int, list[int]]:
    """False alarms without a change, and delays."""
    quiet = _watch(rows["reference"], false_alarms)
    alarms, raised = 0, None
    for block in _blocks(rows["quiet"]):
        quiet.add(block)
        alarms += quiet.raised is not None and raised is None
        raised = quiet.raised
    delays = []
    for i in range(len(rows) - 2):
        watch = _watch(rows["reference"], false_alarms)
        told = -1
        for n, block in enumerate(_blocks(rows[f"stream{i}"])):
            watch.add(block)
            if watch.raised is not None:
                told = (n + 1) * BLOCK
                break
        delays.append(told)
    return alarms, delays


def _watch(reference: Floats, false_alarms: int) -> Watch:
    watch = Watch(_columns(reference), false_alarms, TOLERANCE)
    watch.add(_table(reference[:1024], 0))
    for begin in range(1024, len(reference), 64):
        watch.add(_table(reference[begin : begin + 64], begin))
    return watch


def _blocks(rows: Floats) -> Iterator[Table]:
    for begin in range(0, len(rows), BLOCK):
        # time passes between blocks, so that each is judged at once
        yield _table(rows[begin : begin + BLOCK], 1_000 * begin + 10_000)


def _table(rows: Floats, begin: float) -> Table:
    """Each row of another identity."""
    count = np.arange(len(rows))
    return Table(_columns(rows), rows, count.astype(np.uint64), np.float64(begin) + count * np.float64(10), count)


def _columns(rows: Floats) -> tuple[Column, ...]:
    return tuple(Column(f"x{i}", Kind.NUMBER) for i in range(rows.shape[1]))


def theirs(name: str, file: Path) -> tuple[int, list[int]]:
    python = CACHE / PEERS[name] / "bin" / "python"
    ended = subprocess.run([python, SCRIPT, file, name], capture_output=True, text=True, timeout=TIMEOUT, check=False)
    if ended.returncode:
        raise RuntimeError(f"{name} has failed: {ended.stderr.strip()[-500:]}")
    told = json.loads(ended.stdout.splitlines()[-1])
    return told["alarms"], told["delays"]


def compare(names: Sequence[str], folder: Path, detectors: Sequence[str]) -> Iterator[tuple[list[Found], Quiet]]:
    changes = [(kind, size) for kind in KINDS for size in SIZES]
    with tempfile.TemporaryDirectory() as made:
        for name in names:
            rows = streams(Traffic.load(name, folder), NAMES.index(name))
            file = Path(made) / f"{name}.npz"
            np.savez(file, allow_pickle=False, **rows)
            for detector in detectors:
                if detector in PEERS:
                    alarms, delays = theirs(detector, file)
                else:
                    alarms, delays = ours(rows, CAREFUL_RATE if detector == CAREFUL else RATE)
                found = [Found(name, detector, *change, each) for change, each in zip(changes, delays, strict=True)]
                yield found, Quiet(name, detector, QUIET_ROWS, alarms)


def unchanged(traffic: Traffic, rows: int, seed: int) -> Quiet:
    """Alarms at 1 in CAREFUL_RATE where nothing changes: what Watch does, on bins that are found once for all rows."""
    rng = np.random.default_rng(seed)
    first = traffic.draw(rng, 1024)
    signals = Signals.learn(_table(first[:512], 0), rng)
    every = signals.bins(signals.matrix(_table(traffic.rows, 0)))
    ranks = Ranks(np.zeros((len(signals.all), BINS), np.int64), rng)
    ranks.levels(signals.bins(signals.matrix(_table(first[512:], 0))), learn=True)
    evidence, alarms = Evidence(len(signals.all), CAREFUL_RATE, TOLERANCE), 0
    for _ in range(0, rows, QUIET_BLOCK):
        bins = every[rng.integers(0, len(every), QUIET_BLOCK)]
        evidence.add(ranks.levels(bins, learn=True), QUIET_BLOCK, 0.0)
        if evidence.nats().max() >= evidence.alarm_at:
            alarms += 1
            evidence = Evidence(len(signals.all), CAREFUL_RATE, TOLERANCE)
    return Quiet(traffic.name, CAREFUL, rows, alarms)


def report(found: Sequence[Found], quiet: Sequence[Quiet], long: Sequence[Quiet]) -> str:
    detectors = list(dict.fromkeys(each.detector for each in found))
    rows = []
    for kind in KINDS:
        for size in SIZES:
            of = [
                [each for each in found if (each.kind, each.size, each.detector) == (kind, size, d)] for d in detectors
            ]
            rows.append((f"{kind}, {size}", *(_cell(each) for each in of)))
    rows.append(("all", *(_cell([each for each in found if each.detector == d]) for d in detectors)))
    alarms = [sum(each.alarms for each in quiet if each.detector == d) for d in detectors]
    rows.append(("false alarms", *(f"{count}" for count in alarms)))
    parts = ["Median delay in rows over the tables; in brackets how often the change was not told:"]
    parts.append(table(("change", *detectors), rows))
    if long:
        parts.append(f"Without change, at 1 in {CAREFUL_RATE:,} rows:")
        told = [(each.table, f"{each.rows:,}", each.alarms) for each in long]
        told.append(("all", f"{sum(each.rows for each in long):,}", sum(each.alarms for each in long)))
        parts.append(table(("table", "rows", "false alarms"), told))
    return "\n\n".join(parts)


def _delay(each: Found) -> int:
    return each.delay if each.delay > 0 else LONGEST


def _cell(found: Sequence[Found]) -> str:
    missed = sum(each.delay < 0 for each in found)
    return f"{median(map(_delay, found)):.0f}" + (f" ({missed} of {len(found)})" if missed else "")


def bars(found: Sequence[Found], long: Sequence[Quiet]) -> Iterator[Bar]:
    def of(detector: str) -> float:
        return median(_delay(each) for each in found if each.detector == detector)

    others = {each.detector for each in found} & set(PEERS)
    if others:
        yield Bar("median delay", of(OURS), min(map(of, others)), "rows")
    if long:
        rows = sum(each.rows for each in long)
        yield Bar("false alarms without change", sum(each.alarms for each in long), rows / CAREFUL_RATE, "alarms")


def main() -> int:
    """0 where every bar is reached."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.drift", description=__doc__)
    parser.add_argument("--tables", type=Path, help=f"folder of ADBench's tables (default: {VARIABLE})")
    parser.add_argument("--only", action="append", metavar="TABLE", help=f"of {', '.join(NAMES)}; may be repeated")
    parser.add_argument("--quiet-rows", type=int, default=100_000_000, help="rows without change, of all tables")
    parser.add_argument("--without", action="append", default=[], metavar="DETECTOR", help=f"of {', '.join(PEERS)}")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    parser.add_argument("--write", action="store_true", help="replace the files in loadtests/results")
    arguments = parser.parse_args()
    folder, names = arguments.tables or Path(os.environ.get(VARIABLE, "")), arguments.only or NAMES
    missing = [peer for peer in PEERS if peer not in arguments.without and not (CACHE / PEERS[peer] / "bin").exists()]
    if missing:
        print(f"without {', '.join(missing)}: scripts/peers river alibi installs them", file=sys.stderr)
    detectors = [OURS, CAREFUL, *(peer for peer in PEERS if peer not in (*missing, *arguments.without))]
    found: list[Found] = []
    quiet: list[Quiet] = []
    long: list[Quiet] = []
    try:
        with Console(stderr=True).status("traffic changes") as status:
            for each, alarms in compare(names, folder, detectors):
                found += each
                quiet.append(alarms)
                status.update(f"{alarms.table}: {alarms.detector}")
            for i, name in enumerate(names if arguments.quiet_rows else ()):
                status.update(f"{name}: nothing changes")
                long.append(unchanged(Traffic.load(name, folder), arguments.quiet_rows // len(names), i))
    except Absent as error:
        print(f"no traffic: {error}", file=sys.stderr)
        return 2
    body = "\n\n".join([report(found, quiet, long), *map(str, bars(found, long))])
    facts = machine.facts()
    data = {**facts, "found": [asdict(each) for each in found], "quiet": [asdict(each) for each in (*quiet, *long)]}
    print(json.dumps(data, indent=1) if arguments.json else body)
    if arguments.write:
        command = machine.command("loadtests.drift")
        results.write("drift", results.document("Drift", METHOD, facts, command, body), data)
    return 0 if all(bar.reached for bar in bars(found, long)) else 1


if __name__ == "__main__":
    sys.exit(main())
