"""`python -m modelward` and the `modelward` command."""

import sys

from modelward.cli.app import main as run


def main() -> int:
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
