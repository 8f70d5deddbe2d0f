"""`python -m modelward` and the `modelward` command."""

import sys

from modelward.config import unchecked
from modelward.tunables import exec_tuned


def main() -> int:
    if sys.argv[1:2] == ["serve"]:
        exec_tuned()  # before it has imported what it would import again
        unchecked.choose()
    from modelward.cli.app import main as run  # noqa: PLC0415

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
