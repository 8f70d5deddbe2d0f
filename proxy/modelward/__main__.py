"""`python -m modelward` and the `modelward` command."""

import gc
import sys

from modelward.config import unchecked
from modelward.tunables import exec_tuned


def main() -> int:
    if sys.argv[1:2] == ["serve"]:
        exec_tuned()  # before it has imported what it would import again
        gc.disable()  # until all is imported: nothing of it is garbage that would not keep
        unchecked.choose()
    from modelward.cli.app import main as run  # noqa: PLC0415

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
