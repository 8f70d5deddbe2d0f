"""Sockets bound before anything else is done, so that a taken address is told at once; they listen at the end."""

import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelward.config.address import Address
from modelward.config.listen import Listen
from modelward.problem import Problem, ProblemsFound

KEY = "listen.grpc"
BOUND_SOCKETS = Path("/proc/net/unix")


class BoundSocket:
    """Bound, not listening: no client connects before the models are loaded. Owns the file of a Unix socket."""

    def __init__(self, configured: Address, mode: int, key: str = KEY, how: str = "") -> None:
        """mode: permission bits of a Unix socket's file. key: of the configuration. how: to mend it where the address
        cannot be had. Raises ProblemsFound."""
        try:
            self.socket = _bind_unix(configured.path, mode) if configured.is_unix else _bind_tcp(configured)
        except OSError as error:
            raise ProblemsFound([cannot_listen(configured, key, error, how)]) from error
        self.socket.setblocking(False)
        self.address = configured
        self._file: tuple[int, int] | None = None
        if configured.is_unix:
            self._file = _identity(configured.path)
        else:
            host, port = self.socket.getsockname()[:2]
            self.address = Address(host=host, port=port)

    def close(self) -> None:
        """Closes the socket and removes its file, unless the path is somebody else's by now."""
        self.socket.close()
        if self._file is not None and _identity(self.address.path) == self._file:
            os.unlink(self.address.path)
        self._file = None


class InheritedSocket:
    """Bound, and perhaps listened on, by the parent of this process, which also owns the file of a Unix socket."""

    def __init__(self, inherited: socket.socket, address: Address) -> None:
        self.socket = inherited
        self.socket.setblocking(False)
        self.address = address

    def close(self) -> None:
        """Closes this process's descriptor: the others go on listening."""
        self.socket.close()


def cannot_listen(address: Address, key: str, error: OSError, how: str = "") -> Problem:
    """The problem of an address that cannot be had."""
    if address.is_unix and error.errno in (errno.ENOENT, errno.ENOTDIR):
        how = f"Make the folder {Path(address.path).parent}, or set {key} to another address"
    how = how or f"Stop what listens there, or set {key} to another address"
    return Problem(f"cannot listen on {address}", key, error.strerror or str(error), how)


def without_folders(listen: Listen) -> Iterator[Problem]:
    """Of Unix sockets whose folder is not there: serve cannot listen until something makes it, such as systemd."""
    for key, address in (("grpc", listen.grpc), ("http", listen.http), ("admin", listen.admin)):
        if address is not None and address.is_unix and not (folder := Path(address.path).parent).is_dir():
            how = f"Make it before you serve, or set listen.{key} to another address"
            yield Problem(f"serve cannot listen on {address} as it is", f"listen.{key}", f"{folder} is no folder", how)


def _bind_tcp(address: Address) -> socket.socket:
    family, _, _, _, target = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return _bind(bound, target)


def _bind_unix(path: str, mode: int) -> socket.socket:
    try:
        bound = _bind(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), path)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or not is_stale(path):
            raise
        os.unlink(path)
        bound = _bind(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), path)
    # no client can connect before it listens, whatever the umask has let through until now
    os.chmod(path, mode)
    return bound


def _bind(unbound: socket.socket, target: Any) -> socket.socket:
    try:
        unbound.bind(target)
    except OSError:
        unbound.close()
        raise
    return unbound


def is_stale(path: str) -> bool:
    """Whether the path is a socket that a dead process left: no process listens, or is about to."""
    if not stat.S_ISSOCK(os.stat(path).st_mode) or _is_bound(path):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(path) == errno.ECONNREFUSED


def _is_bound(path: str) -> bool:
    """Whether a process of this network namespace has it, perhaps without listening yet: a server that is starting."""
    try:
        lines = BOUND_SOCKETS.read_text(errors="surrogateescape").splitlines()
    except OSError:  # a system without it: whether somebody listens has to do
        return False
    return any(line.endswith(f" {path}") for line in lines)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
