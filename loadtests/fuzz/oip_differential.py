"""Random ModelInferRequests, whole and damaged, read by the compiled scanner and by protobuf: they must agree.

    python -m loadtests.fuzz.oip_differential [--messages N] [--seed N]

Exit code 1, with the seed and the message in hex, at the first difference.
"""

import argparse
import sys
from random import Random

from tests.oracle.agreement import assert_agrees
from tests.oracle.wire import Writer


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--messages", type=int, default=200_000, help="how many, half of them damaged (%(default)s)")
    options.add_argument("--seed", type=int, default=0, help="of the first message (%(default)s)")
    arguments = options.parse_args()
    taken = size = 0
    for seed in range(arguments.seed, arguments.seed + arguments.messages):
        message = Writer(Random(seed), damage=seed % 2 == 1).request()
        size += len(message)
        try:
            taken += assert_agrees(message)
        except AssertionError as difference:
            print(f"seed {seed}: {difference}\n{message.hex()}", file=sys.stderr)
            return 1
    average = size / arguments.messages
    print(f"{arguments.messages} messages, {average:.0f} bytes on average, {taken} taken, no difference")
    return 0


if __name__ == "__main__":
    sys.exit(main())
