"""`python -m loadtests.drift`: after how many rows a change is told, beside other detectors; and false alarms."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from loadtests.detection.drift_parts import (
    BEFORE,
    BLOCK,
    CACHE,
    CALIBRATED,
    CAREFUL,
    CAREFUL_RATE,
    LONGEST,
    PEERS,
    QUIET_ROWS,
    RATE,
    STATED,
    UNCHANGED,
    Part,
    Task,
    measured,
)
from loadtests.detection.shifts import KINDS, NAMES
from loadtests.detection.tables import VARIABLE, Absent
from loadtests.tools import machine, results
from loadtests.tools.results import Bar, table

OURS = (CALIBRATED, STATED, CAREFUL)
SIZES = ("small", "middle", "large")


METHOD = f"""\
Ten tables of ADBench, at most ten columns of each; traffic is drawn from them with replacement. After {BEFORE:,} rows
it changes: six kinds of change in three sizes (`loadtests/detection/shifts.py`). Delay: rows until the change is told,
{LONGEST:,} where it is not told by then. All detectors see the same rows and are set to one false alarm in {RATE:,}
rows: KSWIN, MMD and CVM by what they state themselves, ADWIN and Modelward by what they do on rows drawn from those
before the change, since both state far more false alarms than they raise. `false alarms`: in {QUIET_ROWS:,} rows of
each table without a change. Modelward judges rows in blocks of {BLOCK}, and is measured as it states itself too."""


@dataclass(frozen=True)
class Found:
    """delay: -1 where it was not told."""

    table: str
    detector: str
    kind: str
    size: str
    delay: int


def changes(parts: Sequence[Part]) -> list[Found]:
    each = [(kind, size) for kind in KINDS for size in SIZES]
    return [
        Found(part.table, part.detector, kind, size, delay)
        for part in parts
        if part.detector != UNCHANGED
        for (kind, size), delay in zip(each, part.delays, strict=True)
    ]


def report(parts: Sequence[Part]) -> str:
    found = changes(parts)
    detectors = list(dict.fromkeys(each.detector for each in found))
    rows = []
    for kind in KINDS:
        for size in SIZES:
            of = [
                [each for each in found if (each.kind, each.size, each.detector) == (kind, size, d)] for d in detectors
            ]
            rows.append((f"{kind}, {size}", *(_cell(each) for each in of)))
    rows.append(("all", *(_cell([each for each in found if each.detector == d]) for d in detectors)))
    alarms = [sum(part.alarms for part in parts if part.detector == d) for d in detectors]
    rows.append(("false alarms", *(f"{count}" for count in alarms)))
    told = ["Median delay in rows over the tables; in brackets how often the change was not told:"]
    told.append(table(("change", *detectors), rows))
    if _others(found):
        told.append(_compared(found))
    if long := [part for part in parts if part.detector == UNCHANGED]:
        told.append(f"Without change, at 1 in {CAREFUL_RATE:,} rows:")
        quiet = [(part.table, f"{part.rows:,}", part.alarms) for part in long]
        quiet.append(("all", f"{sum(part.rows for part in long):,}", sum(part.alarms for part in long)))
        told.append(table(("table", "rows", "false alarms"), quiet))
    return "\n\n".join(told)


def _delay(each: Found) -> int:
    return each.delay if each.delay > 0 else LONGEST


def _cell(found: Sequence[Found]) -> str:
    missed = sum(each.delay < 0 for each in found)
    return f"{median(map(_delay, found)):.0f}" + (f" ({missed} of {len(found)})" if missed else "")


def bars(parts: Sequence[Part]) -> Iterator[Bar]:
    found = changes(parts)
    for other in _others(found):
        yield Bar(f"median delay, against {other}", _median(found, CALIBRATED), _median(found, other), "rows")
    if long := [part for part in parts if part.detector == UNCHANGED]:
        rows = sum(part.rows for part in long)
        yield Bar("false alarms without change", sum(part.alarms for part in long), rows / CAREFUL_RATE, "alarms")


def later(found: Sequence[Found]) -> dict[str, list[str]]:
    """Changes that another detector tells sooner in the median over the tables, and which ones do."""
    told = {}
    for kind in KINDS:
        for size in SIZES:
            of = [each for each in found if (each.kind, each.size) == (kind, size)]
            sooner = [other for other in _others(found) if _median(of, other) < _median(of, CALIBRATED)]
            if sooner:
                told[f"{kind}, {size}"] = sooner
    return told


def _others(found: Sequence[Found]) -> list[str]:
    return [peer for peer in PEERS if any(each.detector == peer for each in found)]


def _median(found: Sequence[Found], detector: str) -> float:
    return median(_delay(each) for each in found if each.detector == detector)


def _compared(found: Sequence[Found]) -> str:
    count, sooner = len(KINDS) * len(SIZES), later(found)
    words = "; ".join(f"{change}: {' and '.join(others)}" for change, others in sooner.items())
    rest = f" Another is earlier at: {words}." if sooner else ""
    return f"Modelward tells {count - len(sooner)} of the {count} changes no later than each other detector.{rest}"


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
    peers = [peer for peer in PEERS if peer not in (*missing, *arguments.without)]
    fast, slow = [d for d in peers if d == "adwin"], [d for d in peers if d != "adwin"]
    tasks = [Task(name, detector, folder) for name in names for detector in (*OURS, *fast)]
    tasks += [Task(name, detector, folder) for name in names for detector in slow]
    if arguments.quiet_rows:
        tasks += [Task(name, UNCHANGED, folder, arguments.quiet_rows // len(names)) for name in names]
    begun = time.monotonic()

    def told(part: Part, ended: int) -> None:
        spent = f"{part.seconds:,.0f} s, {(time.monotonic() - begun) / 60:.0f} min in all"
        print(f"{ended} of {len(tasks)}: {part.table}, {part.detector}: {spent}", file=sys.stderr, flush=True)

    try:
        parts = measured(tasks, told)
    except Absent as error:
        print(f"no traffic: {error}", file=sys.stderr)
        return 2
    body = "\n\n".join([report(parts), *map(str, bars(parts))])
    facts = machine.facts()
    data = {
        **facts,
        "medians": {each: _median(changes(parts), each) for each in (*OURS, *_others(changes(parts)))},
        "later": later(changes(parts)),
        "found": [asdict(each) for each in changes(parts)],
        "quiet": [{k: v for k, v in asdict(part).items() if k not in ("delays", "seconds")} for part in parts],
    }
    print(json.dumps(data, indent=1) if arguments.json else body)
    if arguments.write:
        command = machine.command("loadtests.drift")
        results.write("drift", results.document("Drift", METHOD, facts, command, body), data)
    return 0 if all(bar.reached for bar in bars(parts)) else 1


if __name__ == "__main__":
    sys.exit(main())
