"""Fuzzes whole connections, clients' or our own to upstreams, and compressed messages:
python -m loadtests.fuzz.fuzzer TARGET [ARGUMENTS] FOLDER

Coverage guided with the compiled driver beside it (scripts/fuzz builds it), else it plays the files named as arguments.
"""

import gc
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loadtests.fuzz.simulation import SimulatedLoop, Site

Play = Callable[[bytes], None]


def unraisable(hook: "sys.UnraisableHookArgs") -> None:
    """A C callback had an exception and nowhere to raise it: the data plane's code must not."""
    traceback.print_exception(hook.exc_type, hook.exc_value, hook.exc_traceback)
    print(f"in {hook.object!r}: {hook.err_msg}", file=sys.stderr, flush=True)
    os.abort()


def connection(loop: SimulatedLoop) -> Play:
    from loadtests.fuzz.models import open_models  # noqa: PLC0415 - under the driver, what is compiled comes after it
    from loadtests.fuzz.script import play  # noqa: PLC0415

    site = Site(open_models())
    return lambda data: play(data, loop, site)


def outgoing(loop: SimulatedLoop) -> Play:
    from loadtests.fuzz.outgoing_script import RemoteSite, play  # noqa: PLC0415

    site = RemoteSite()
    return lambda data: play(data, loop, site)


def inflate(loop: SimulatedLoop) -> Play:
    from loadtests.fuzz.inflate import play  # noqa: PLC0415

    return play


TARGETS = {"connection": connection, "outgoing": outgoing, "inflate": inflate}


def main() -> None:
    target, *arguments = sys.argv[1:]
    driver: Any = None
    if "MODELWARD_FUZZ_DRIVER" in os.environ:
        sys.path.insert(0, os.environ["MODELWARD_FUZZ_DRIVER"])
        driver = importlib.import_module("fuzz_driver")

    logging.disable(logging.CRITICAL)
    sys.unraisablehook = unraisable
    play = TARGETS[target](SimulatedLoop())
    gc.freeze()
    played = 0

    def one(data: bytes) -> None:
        nonlocal played
        played += 1
        play(data)
        if played % 256 == 0:
            gc.collect()  # now, so that what finalizers find is found near the input that left it

    if driver is not None:
        driver.run([f"{target}_fuzzer", *arguments], one)
    for name in arguments:
        one(Path(name).read_bytes())


if __name__ == "__main__":
    main()
