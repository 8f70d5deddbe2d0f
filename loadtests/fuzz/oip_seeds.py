"""Writes a starting corpus for oip_fuzzer: python -m loadtests.fuzz.oip_seeds FOLDER"""

import sys
from pathlib import Path
from random import Random

from tests.oracle.wire import Writer

SEEDS = 300


def main() -> None:
    folder = Path(sys.argv[1])
    for seed in range(SEEDS):
        message = Writer(Random(seed), damage=seed % 3 == 0).request()
        folder.joinpath(f"seed-{seed}").write_bytes(message)


if __name__ == "__main__":
    main()
