"""`python -m modelward` and the `modelward` command."""

import gc
import signal
import sys
from typing import NoReturn

INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM


def main() -> int:
    try:
        if sys.argv[1:2] == ["serve"]:
            _prepare()
        from modelward.cli.app import main as run  # noqa: PLC0415

        return run(sys.argv[1:])
    except KeyboardInterrupt:
        return INTERRUPTED


def _prepare() -> None:
    """For a server, before it has imported what takes time."""
    signal.signal(signal.SIGTERM, _terminate)  # process 1 of a container gets no signal that it does not handle
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # who has started it may ignore it: then no end of a worker is told
    from modelward.tunables import exec_tuned  # noqa: PLC0415

    exec_tuned()  # before it has imported what it would import again
    gc.disable()  # until all is imported: nothing of it is garbage that would not keep
    from modelward.config import unchecked  # noqa: PLC0415

    unchecked.choose()


def _terminate(number: int, frame: object) -> NoReturn:
    """Until the server drains on it: nothing is served yet."""
    sys.exit(TERMINATED)


if __name__ == "__main__":
    sys.exit(main())
