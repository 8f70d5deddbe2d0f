"""`python -m loadtests.bench`, which `make bench` runs: nanoseconds per stage, then the race against other servers."""

from __future__ import annotations

import argparse
import json
import sys

from loadtests import micro
from loadtests.race.__main__ import add_arguments, race


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench", description=__doc__)
    add_arguments(parser)
    arguments = parser.parse_args()
    stages = micro.measure()
    if not arguments.json:
        print(f"{micro.text(stages)}\n", flush=True)
    if arguments.write:
        micro.write(stages)
    raced = race(arguments)
    if arguments.json:
        print(json.dumps({"stages": micro.data(stages), "race": raced}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
