"""One function in a child process of its own: bounded in time and memory, and what kills it kills nothing else.

For what the runtime or a library may not survive, or may never finish: a model's first runs, a file of somebody else's.
A child starts in 0.1 s and imports what the function's module imports.
"""

import contextlib
import math
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar, cast

from msgspec import Struct

from modelward import pickled
from modelward.no_process import no_process
from modelward.undumpable import make_undumpable

T = TypeVar("T")


class Bounds(Struct, frozen=True):
    """seconds: by the clock, from the start of the child to its result. memory: bytes that it may write to, code and
    the interpreter included (RLIMIT_DATA)."""

    seconds: float
    memory: int = 4 << 30


class ChildEnded(Exception):
    """There is no result, and why, in words: killed by a signal, out of time."""


def in_child(bounds: Bounds, function: Callable[..., T], *arguments: Any) -> T:
    """What function(*arguments) returns, or raises, in a process that ends with it. Blocks: call it in a thread.

    The function is found by its module and name; arguments, result and exceptions are pickled. The child can write no
    file, and gets no descriptor of ours. Raises ChildEnded, and NoProcess where the system starts none.
    """
    return Child(bounds, function, *arguments).result()


class Child(Generic[T]):
    """The same in two steps: between them this process does something else."""

    def __init__(self, bounds: Bounds, function: Callable[..., T], *arguments: Any, secret: bool = True) -> None:
        """secret: the child is told when it is undumpable, which is waited for. Otherwise it finds what it is told.
        Raises NoProcess."""
        self._bounds = bounds
        until = time.monotonic() + bounds.seconds
        channel, its = socket.socketpair()
        self._timed = _Timed(channel, until)
        try:
            with its:
                self._process = subprocess.Popen(_command(bounds), stdin=its.fileno(), env=environment(), **_HOW)
        except OSError as error:
            channel.close()
            raise no_process(error) from None
        self._is_ready = secret
        with self._to_the_end(), contextlib.suppress(ConnectionError):  # where it ends before, its exit code tells
            if not secret or self._timed.now().recv(1) == READY:
                self._timed.now().sendall(pickled.dumps((function, arguments)))
                channel.shutdown(socket.SHUT_WR)

    @property
    def pid(self) -> int:
        return self._process.pid

    def result(self) -> T:
        """Blocks; to be called once. Raises what the function raised, or ChildEnded."""
        with self._timed.channel, self._to_the_end():
            output = _answer(self._timed, self._is_ready)
            self._process.wait(max(0.0, self._timed.until - time.monotonic()))
            return cast(T, _result(self._process.returncode, output))

    def end(self) -> None:
        """Its result is not wanted."""
        self._timed.channel.close()
        if self._process.poll() is None:
            _kill(self._process.pid)
            self._process.wait()

    @contextlib.contextmanager
    def _to_the_end(self) -> Iterator[None]:
        """It ends with what fails."""
        try:
            yield
        except (TimeoutError, subprocess.TimeoutExpired):
            self.end()
            raise _too_long(self._bounds) from None
        except BaseException:
            self.end()
            raise


async def in_child_meanwhile(bounds: Bounds, function: Callable[..., T], *arguments: Any) -> T:
    """As `in_child`, for a loop. Cancelled, it ends the child."""
    import asyncio  # noqa: PLC0415 - a child does without

    channel, its = socket.socketpair()
    with channel:
        channel.setblocking(False)
        with its:
            try:
                child = await asyncio.create_subprocess_exec(
                    *_command(bounds), stdin=its.fileno(), env=environment(), **_HOW
                )
            except OSError as error:
                raise no_process(error) from None
        try:
            async with asyncio.timeout(bounds.seconds):
                output = await _exchange_meanwhile(channel, pickled.dumps((function, arguments)))
                await child.wait()
        except TimeoutError:
            raise _too_long(bounds) from None
        finally:
            if child.returncode is None:
                _kill(child.pid)
                await child.wait()
    assert child.returncode is not None
    return cast(T, _result(child.returncode, output))


# a session of its own, so that what it forks can be ended with it
_HOW: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
# Arguments may hold what a sealed file holds, so they are sent when the child is undumpable, and over a socket: another
# process of the same user can open a pipe through /proc/PID/fd, and copy what is in it.
READY = b"\1"
PIECE = 1 << 20  # bytes that are received at a time


def _command(bounds: Bounds) -> list[str]:
    return [sys.executable, "-P", "-m", "modelward.child", str(bounds.seconds), str(bounds.memory)]


def import_path() -> str:
    """PYTHONPATH of a process that imports what this one does, wherever it is started."""
    return os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry != "")


def environment() -> dict[str, str]:
    """What a child is started with."""
    return {**os.environ, "PYTHONPATH": import_path(), "PYTHONDONTWRITEBYTECODE": "1"}


class _Timed(Struct, frozen=True):
    """A socket whose calls raise TimeoutError after a point in time."""

    channel: socket.socket
    until: float

    def now(self) -> socket.socket:
        self.channel.settimeout(max(0.001, self.until - time.monotonic()))
        return self.channel


def _answer(timed: _Timed, is_ready: bool) -> bytes:
    """What the child sends back; less where it ends before. is_ready: it has said so."""
    pieces = []
    with contextlib.suppress(ConnectionError):
        if not is_ready:
            timed.now().recv(1)
        while piece := timed.now().recv(PIECE):
            pieces.append(piece)
    return b"".join(pieces)


async def _exchange_meanwhile(channel: socket.socket, given: bytes) -> bytes:
    import asyncio  # noqa: PLC0415 - a child does without

    loop, pieces = asyncio.get_running_loop(), []
    with contextlib.suppress(ConnectionError):
        if await loop.sock_recv(channel, 1) == READY:
            await loop.sock_sendall(channel, given)
            channel.shutdown(socket.SHUT_WR)
            while piece := await loop.sock_recv(channel, PIECE):
                pieces.append(piece)
    return b"".join(pieces)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def threads() -> int:
    """Of this process; 0 where that is not told. With more than one a fork has locks that no thread releases."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 0


def _too_long(bounds: Bounds) -> ChildEnded:
    return ChildEnded(f"it took longer than {bounds.seconds:g} s")


def _result(code: int, output: bytes) -> Any:
    """What the function returned, or raises what it raised."""
    if code != 0:
        raise ChildEnded(ending(code))
    try:
        ok, result = pickled.loads(output)
    except pickled.Unreadable as error:
        raise ChildEnded(f"what it says cannot be read ({error}): {pickled.REPLACED}") from error
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
    with socket.socket(fileno=os.dup(0)) as channel:
        with open(os.devnull, "rb") as nothing:  # programs that the function starts do not get it
            os.dup2(nothing.fileno(), 0)
        channel.sendall(READY)
        with channel.makefile("rb") as given:
            function, arguments = pickled.loads(given.read())
        result: tuple[bool, Any]
        try:
            result = True, function(*arguments)
        except Exception as error:  # noqa: BLE001 - raised by the parent
            result = False, error
        channel.sendall(pickled.dumps(result))
        os._exit(0)  # whatever threads are left


if __name__ == "__main__":
    _main()
