"""Writes a starting corpus for outputs_fuzzer: python -m loadtests.fuzz.outputs_seeds FOLDER"""

import sys
from pathlib import Path
from random import Random

from tests.oracle.wire import Writer, delimited, varint

SEEDS = 320
DATATYPES = ("FP32", "FP64", "FP16", "BF16", "INT64", "UINT8", "BOOL", "INT32")  # as outputs_fuzzer.c has them
SIZES = (4, 8, 2, 2, 8, 1, 1, 4)
CONTENTS = {"FP32": 6, "FP64": 7}


def main() -> None:
    folder = Path(sys.argv[1])
    for seed in range(SEEDS):
        random = Random(seed)
        which, rows, columns = seed % len(DATATYPES), random.randint(1, 4), random.randint(1, 5)
        raw = random.randbytes(rows * columns * SIZES[which])
        tensor = (
            delimited(1, b"p") + delimited(2, DATATYPES[which].encode()) + delimited(3, varint(rows) + varint(columns))
        )
        field = CONTENTS.get(DATATYPES[which])
        typed = tensor + delimited(5, delimited(field or 6, raw))
        other = tensor.replace(b"p", b"q", 1)
        if field and seed % 3 == 0:
            answer = delimited(5, typed)
        elif seed % 3 == 1:  # with another output: raw contents for both, for one of them, or beside typed ones
            answer = delimited(5, typed if seed % 4 == 3 else tensor) + delimited(5, other)
            answer += delimited(6, raw) * (1 + seed % 2)
        else:
            answer = delimited(5, tensor) + delimited(6, raw)
        if seed % 5 == 0:
            answer = Writer(random, damage=True).broken(answer)
        folder.joinpath(f"seed-{seed}").write_bytes(bytes([which | random.randrange(32) << 3]) + answer)


if __name__ == "__main__":
    main()
