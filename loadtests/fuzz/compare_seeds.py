"""Writes a starting corpus for compare_fuzzer: python -m loadtests.fuzz.compare_seeds FOLDER"""

import sys
from pathlib import Path
from random import Random

from tests.oracle.wire import Writer

SEEDS = 300


def main() -> None:
    folder = Path(sys.argv[1])
    for seed in range(SEEDS):
        primary = Writer(Random(seed), damage=seed % 3 == 0).answer()
        shadow = primary if seed % 2 else Writer(Random(seed + SEEDS), damage=seed % 5 == 0).answer()
        folder.joinpath(f"seed-{seed}").write_bytes(len(primary).to_bytes(2, "little") + primary + shadow)


if __name__ == "__main__":
    main()
