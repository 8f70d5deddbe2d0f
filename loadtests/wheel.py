"""`python -m loadtests.wheel`: two builders get the same wheel, byte for byte, from the same sources and tools."""

from __future__ import annotations

import argparse
import re
import resource
import subprocess
import sys
from pathlib import Path

from loadtests.tools import machine, results
from loadtests.tools.results import Bar, table

ROOT = Path(__file__).parents[1]
SECONDS = 3600
BUILDERS = ("as they lie here", "another folder, times, rights, time zone, language")

METHOD = """\
`scripts/wheel --twice` compiles all modules twice, with nothing kept from the first build. The second time the sources
lie in a folder of another name, have other times, can be read by their owner alone, and are compiled in another time
zone and language, as another builder may have it. Then the bytes of the two wheels are compared. The files in them have
the time of the last commit."""


def digests(output: str) -> list[tuple[str, str]]:
    """File name and SHA-256 of each wheel, in the order in which they were built."""
    return [(name, digest) for digest, name in re.findall(r"^wheel: SHA-256 ([0-9a-f]{64}) (\S+)$", output, re.M)]


def compiler() -> str:
    """Such as "gcc (Debian 12.4.0-5) 12.4.0"."""
    return subprocess.run(["cc", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]


def main() -> int:
    """0 if both builds end and are the same."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.wheel", description=__doc__)
    parser.add_argument("--write", action="store_true", help="replace the files in loadtests/results")
    arguments = parser.parse_args()

    command = [str(ROOT / "scripts" / "wheel"), "--twice", sys.executable]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=SECONDS, check=False)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    built = digests(ran.stdout)
    if len(built) != len(BUILDERS):
        print(ran.stdout, file=sys.stderr)
        return 1
    same = Bar("wheels that differ", len({digest for _, digest in built}) - 1, 0, "")
    rows = [(builder, *wheel) for builder, wheel in zip(BUILDERS, built, strict=True)]
    took = f"- both builds and the checks took {used.ru_utime + used.ru_stime:.0f} s of CPU"
    body = "\n".join([table(("built", "wheel", "SHA-256"), rows), "", took, f"- {same}"])
    print(body)
    if arguments.write:
        facts = {**machine.facts(), "compiler": compiler()}
        text = results.document(
            "The same wheel from two builders", METHOD, facts, machine.command("loadtests.wheel"), body
        )
        results.write("wheel", text, {**facts, "rows": rows, "bars": {same.name: same.figure}})
    return 0 if same.reached and ran.returncode == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
