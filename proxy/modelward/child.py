"""One function in a child process of its own: bounded in time and memory, and what kills it kills nothing else.

For what the runtime or a library may not survive, or may never finish: a model's first runs, a file of somebody else's.
A child starts in 0.1 s and imports what the function's module imports.
"""

import contextlib
import math
import os
import pickle
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from modelward.undumpable import make_undumpable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Bounds:
    """seconds: by the clock, from the start of the child to its result. memory: bytes that it may write to, code and
    the interpreter included (RLIMIT_DATA)."""

    seconds: float
    memory: int = 4 << 30


class ChildEnded(Exception):
    """There is no result, and why, in words: killed by a signal, out of time."""


def in_child(bounds: Bounds, function: Callable[..., T], *arguments: Any) -> T:
    """What function(*arguments) returns, or raises, in a process that ends with it. Blocks: call it in a thread.

    The function is found by its module and name; arguments, result and exceptions are pickled. The child can write no
    file, and gets no descriptor of ours. Raises ChildEnded.
    """
    command, how = _started(bounds)
    child = subprocess.Popen(command, **how)
    with child:
        try:
            output, _ = child.communicate(pickle.dumps((function, arguments)), bounds.seconds)
        except subprocess.TimeoutExpired:
            _kill(child.pid)
            raise _too_long(bounds) from None
    return cast(T, _result(child.returncode, output))


async def in_child_meanwhile(bounds: Bounds, function: Callable[..., T], *arguments: Any) -> T:
    """As `in_child`, for a loop. Cancelled, it ends the child."""
    import asyncio  # noqa: PLC0415 - a child does without

    command, how = _started(bounds)
    child = await asyncio.create_subprocess_exec(*command, **how)
    try:
        async with asyncio.timeout(bounds.seconds):
            output, _ = await child.communicate(pickle.dumps((function, arguments)))
    except TimeoutError:
        raise _too_long(bounds) from None
    finally:
        if child.returncode is None:
            _kill(child.pid)
            await child.wait()
    assert child.returncode is not None
    return cast(T, _result(child.returncode, output))


def _started(bounds: Bounds) -> tuple[list[str], dict[str, Any]]:
    """The command, and what it is started with."""
    command = [sys.executable, "-P", "-m", "modelward.child", str(bounds.seconds), str(bounds.memory)]
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry != "")
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    # a session of its own, so that what it forks can be ended with it
    how = {"stdin": pipe, "stdout": pipe, "stderr": nothing, "env": environment, "start_new_session": True}
    return command, how


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _too_long(bounds: Bounds) -> ChildEnded:
    return ChildEnded(f"it took longer than {bounds.seconds:g} s")


def _result(code: int, output: bytes) -> Any:
    """What the function returned, or raises what it raised."""
    if code != 0:
        raise ChildEnded(ending(code))
    ok, result = pickle.loads(output)
    if not ok:
        raise result
    return result


def ending(code: int) -> str:
    """How a process ended, by the exit code that subprocess gives."""
    if code >= 0:
        return f"it ended with exit code {code}"
    try:
        return f"it was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"it was killed by signal {-code}"


def _limit(bounds: Bounds) -> None:
    """Of this process, for good. The alarm ends it where the parent no longer can."""
    make_undumpable()  # it may be given what a sealed file holds
    seconds = math.ceil(bounds.seconds)
    # AddressSanitizer's own tables count as data, and are terabytes
    memory = sys.maxsize if "libasan" in os.environ.get("LD_PRELOAD", "") else bounds.memory
    for kind, most in (
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, 2 * seconds + 1),  # threads use it up faster than the clock
    ):
        _, hard = resource.getrlimit(kind)
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (allowed, allowed))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds + 1)


def _main() -> None:
    _limit(Bounds(float(sys.argv[1]), int(sys.argv[2])))
    function, arguments = pickle.load(sys.stdin.buffer)
    result: tuple[bool, Any]
    try:
        result = True, function(*arguments)
    except Exception as error:  # noqa: BLE001 - raised by the parent
        result = False, error
    sys.stdout.buffer.write(pickle.dumps(result))
    sys.stdout.buffer.flush()
    os._exit(0)  # whatever threads are left


if __name__ == "__main__":
    _main()
