"""Compiled modules refer to one another in circles: whichever comes first, it must be possible to import it."""

import subprocess
import sys
from pathlib import Path

import modelward_native

NATIVE = Path(modelward_native.__file__).parent
MODULES = sorted(
    ".".join(("modelward_native", *p.relative_to(NATIVE).with_suffix("").parts)) for p in NATIVE.rglob("*.pyx")
)
# a process each, and as cheap as may be: only the first import of a process tells anything
SCRIPT = """
import asyncio, dataclasses, importlib, ipaddress, logging, numpy, os, sys, traceback
failed = []
for name in sys.argv[1:]:
    child = os.fork()
    if not child:
        try:
            importlib.import_module(name)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        failed.append(name)
print(*failed)
"""


def test_every_module_can_be_the_first_that_is_imported() -> None:
    assert len(MODULES) > 40
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *MODULES], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr
