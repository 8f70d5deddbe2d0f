"""`python -m modelward.server`: a worker that its supervisor starts by exec."""

import sys

from modelward.config import unchecked


def main() -> int:
    unchecked.choose()
    from modelward.server.worker import main as run  # noqa: PLC0415

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
