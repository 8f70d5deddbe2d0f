"""`python -m loadtests.scan`: what files that are made to be expensive cost the scan at a load: time and memory."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import track

from loadtests.tools import machine, results
from loadtests.tools.results import Bar, table
from modelward.scanning.finding import Findings
from modelward.scanning.reader import OBJECT
from modelward.scanning.scanner import AT_LOAD, scan_model
from modelward.scanning.source import InMemory

SECONDS, MEGABYTES = 12.0, 600.0
GRAPH, NODE, INITIALIZER, VALUE, OUTPUT, ATTRIBUTE = 7, 1, 5, 13, 2, 5
FIELDS = AT_LOAD.fields - 1000

METHOD = """\
Each file is as large as the bounds of a scan at a load let it be, and is scanned once in a process of its own. Seconds
are of CPU time; megabytes are the most that the process had, beyond what it had with the file in memory."""


def field(number: int, value: bytes) -> bytes:
    """Of protobuf's wire format, with a value of bytes."""
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def names(number: int, count: int, size: int) -> bytes:
    return b"".join(field(number, b"%0*d" % (size, i)) for i in range(count))


def graph(fields: bytes) -> bytes:
    return field(GRAPH, fields)


FILES: dict[str, Callable[[], bytes]] = {
    "nodes without a field": lambda: graph(field(NODE, b"") * (FIELDS // (1 + OBJECT))),
    "nodes, each the next one's input": lambda: graph(
        b"".join(
            field(NODE, field(1, b"%d" % i) + field(2, b"%d" % (i + 1)) + field(4, b"Relu"))
            for i in range(FIELDS // (4 + OBJECT))
        )
    ),
    "one node with many outputs": lambda: graph(field(NODE, names(OUTPUT, FIELDS, 7))),
    "one node with long names": lambda: graph(field(NODE, names(OUTPUT, FIELDS // 9, 1024))),
    "initializers": lambda: graph(
        b"".join(field(INITIALIZER, field(8, b"%d" % i)) for i in range(FIELDS // (2 + OBJECT)))
    ),
    "values": lambda: graph(b"".join(field(VALUE, field(1, b"%d" % i)) for i in range(FIELDS // (2 + OBJECT)))),
    "attributes": lambda: graph(field(NODE, field(ATTRIBUTE, b"") * (FIELDS // (1 + OBJECT)))),
    "graphs in attributes": lambda: graph(
        field(NODE, field(ATTRIBUTE, field(6, field(NODE, b""))) * (FIELDS // (3 + 2 * OBJECT)))
    ),
    "metadata": lambda: field(14, field(1, b"k")) * (FIELDS // 2) + graph(field(NODE, b"")),
    "texts that look like programs": lambda: field(14, field(2, b"MZ" * (1 << 19))) * 8 + graph(field(NODE, b"")),
    "texts that look like base64": lambda: field(14, field(2, b"QUJD" * (1 << 18))) * 8 + graph(field(NODE, b"")),
}


def used() -> float:
    """Megabytes, at most so far. ru_maxrss would also have those of the process that started this one."""
    (line,) = (each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


def scan_here(file: Path) -> dict[str, float]:
    data = file.read_bytes()
    before, began = used(), time.process_time()
    scan_model(InMemory(data), None, Findings("expensive"), AT_LOAD)
    return {"seconds": time.process_time() - began, "megabytes": used() - before, "file": len(data) / 1e6}


def measure() -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="modelward-scan-") as folder:
        file = Path(folder, "model.onnx")
        for kind, make in track(FILES.items(), "files", console=Console(stderr=True), transient=True):
            file.write_bytes(make())
            command = [sys.executable, "-m", "loadtests.scan", "--one", str(file)]
            found[kind] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def main() -> int:
    """0 if every scan ends within the bars."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.scan", description=__doc__)
    parser.add_argument("--one", type=Path, metavar="FILE", help="scan this file in this process, and nothing else")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--write", action="store_true", help="replace loadtests/results/scan.md and scan.json")
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(json.dumps(scan_here(arguments.one)))
        return 0
    found = measure()
    most = {name: max(each[name] for each in found.values()) for name in ("seconds", "megabytes")}
    bars = [Bar("the slowest", most["seconds"], SECONDS, "s"), Bar("the largest", most["megabytes"], MEGABYTES, "MB")]
    rows = [
        (kind, f"{each['file']:.1f}", f"{each['seconds']:.1f}", f"{each['megabytes']:.0f}")
        for kind, each in found.items()
    ]
    columns = ("a file that is full of", "its MB", "CPU s", "MB")
    body = "\n".join([table(columns, rows), "", *(f"- {bar}" for bar in bars)])
    facts = machine.facts()
    data = {**facts, "files": found, **most}
    print(json.dumps(data, indent=1) if arguments.json else body)
    if arguments.write:
        command = machine.command("loadtests.scan")
        results.write("scan", results.document("Expensive files and the scan", METHOD, facts, command, body), data)
    return 0 if all(bar.reached for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
