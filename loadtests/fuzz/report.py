"""One line of results.md, from a libFuzzer log: python -m loadtests.fuzz.report TARGET SECONDS LOG CLANG"""

import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from modelward_native.wire.session import nghttp2_release

RESULTS = Path(__file__).with_name("results.md")
HEAD = """# Fuzzing: the last run of each target

Written by `make bench-fuzz` (scripts/fuzz). Edges and features are libFuzzer's, of our own compiled code.

| target | date | seconds | inputs | inputs/s | edges | features | corpus | findings | with |
|---|---|---|---|---|---|---|---|---|---|
"""


def main() -> None:
    target, seconds, log, clang = sys.argv[1:]
    text = Path(log).read_text(errors="replace")
    kept = re.findall(r"^(\| (\w+) \|.*)$", RESULTS.read_text(), re.M) if RESULTS.exists() else []
    rows = {name: whole for whole, name in kept if name != "target"}
    rows[target] = line(target, seconds, text, clang)
    RESULTS.write_text(HEAD + "".join(f"{rows[name]}\n" for name in sorted(rows)))
    print(rows[target])


def line(target: str, seconds: str, text: str, clang: str) -> str:
    progress = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)/", text)
    edges, features, corpus = progress[-1] if progress else ("-", "-", "-")
    inputs = statistic(text, "number_of_executed_units")
    rate = statistic(text, "average_exec_per_sec")
    findings = len(re.findall(r"^SUMMARY: |Test unit written to", text, re.M))
    version = subprocess.run([clang, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    machine = f"{version}, nghttp2 {nghttp2_release()}, Python {platform.python_version()}"
    date = datetime.now(UTC).date()
    cells = (target, date, seconds, inputs, rate, edges, features, corpus, findings or "none", machine)
    return f"| {' | '.join(map(str, cells))} |"


def statistic(text: str, name: str) -> str:
    found = re.search(rf"stat::{name}:\s+(\d+)", text)
    return found[1] if found else "-"


if __name__ == "__main__":
    main()
