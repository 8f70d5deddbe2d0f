"""What it costs to know a caller again: hash and look-up of a credential in the table, against its budget.

`python -m tests.bench.bench_access` prints ns; under `perf stat -e instructions:u` or callgrind, ROUNDS on the command
line and a credential's size make instructions of it.
"""

import os
import sys

from modelward_native.testing.tokens import Tokens, measure_hit

ROUNDS = 300_000
TABLE = 65_536
SIZES = {"an API key, 59 bytes": 59, "a token with ES256, 250 bytes": 250, "a token with RS256, 750 bytes": 750}


def measure(rounds: int = ROUNDS) -> dict[str, float]:
    """ns per hit, by credential."""
    tokens = Tokens(TABLE, os.urandom(16))
    return {name: measure_hit(tokens, bytes(size), rounds) for name, size in SIZES.items()}


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measure_hit(Tokens(TABLE, os.urandom(16)), bytes(int(sys.argv[1])), int(sys.argv[2]))
    else:
        for name, ns in measure().items():
            print(f"{name:36} {ns:8.1f} ns")
