"""Listening sockets that the program which started this process has opened for it, as sd_listen_fds(3) takes them."""

import os
import socket
from collections.abc import MutableMapping

from modelward.config.address import Address
from modelward.problem import Problem, ProblemsFound
from modelward.server.bind import InheritedSocket

FIRST_DESCRIPTOR = 3
VARIABLE = "LISTEN_FDNAMES"
# names that sockets may have, and the keys of `listen` that they stand for
KEYS = {"grpc": "grpc", "http": "http", "metrics": "http"}
HOW_NAMED = f"Write FileDescriptorName= into its socket unit, one of {', '.join(KEYS)}; without a name it is grpc"

Sockets = dict[str, InheritedSocket]


def inherited_sockets(environ: MutableMapping[str, str] = os.environ) -> Sockets:
    """By key of `listen`; empty where none were opened for this very process.

    The variables are taken out of `environ`, so that no child takes them for its own. Raises ProblemsFound.
    """
    pid, count, names = (environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", VARIABLE))
    if pid != str(os.getpid()) or not count.isdecimal():
        return {}
    labels = names.split(":") if names else [""] * int(count)
    if len(labels) != int(count):
        what = f"LISTEN_FDS tells of {count} sockets, and there are {len(labels)} names"
        raise ProblemsFound([Problem(what, VARIABLE, how="Give as many names as sockets, with colons between them")])
    sockets: Sockets = {}
    problems: list[Problem] = []
    for descriptor, label in enumerate(labels, FIRST_DESCRIPTOR):
        try:
            key = _key(label, alone=len(labels) == 1)
            if key in sockets:
                raise _problem(label, f"two sockets are {key}", "Leave one: an address that holds for all is [::]:PORT")
            sockets[key] = _listening(descriptor, label)
        except ProblemsFound as found:
            problems += found.problems
    if problems:
        raise ProblemsFound(problems)
    return sockets


def _key(label: str, *, alone: bool) -> str:
    # systemd gives the name of the unit to sockets without a name; sd_listen_fds_with_names(3) has "unknown"
    if alone and (label in ("", "unknown") or label.endswith(".socket")):
        return "grpc"
    if label not in KEYS:
        raise _problem(label, "nothing here listens on a socket of this name", HOW_NAMED)
    return KEYS[label]


def _listening(descriptor: int, label: str) -> InheritedSocket:
    try:
        inherited = socket.socket(fileno=descriptor)
    except OSError as error:
        how = "LISTEN_FDS counts descriptors from 3 on: pass as many as it says"
        raise _problem(label, f"descriptor {descriptor} is no socket: {error.strerror}", how) from error
    if inherited.type != socket.SOCK_STREAM or not inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        how = "Use ListenStream= with Accept=no in its socket unit"
        raise _problem(label, f"descriptor {descriptor} is not a stream socket that listens", how)
    name = inherited.getsockname()
    if isinstance(name, bytes):  # of the abstract namespace
        how = "Use ListenStream= with a path: a file has a mode that says who may connect"
        raise _problem(label, "anybody may connect to an abstract Unix socket", how)
    inherited.set_inheritable(False)
    address = Address(path=name) if isinstance(name, str) else Address(host=name[0], port=name[1])
    return InheritedSocket(inherited, address)


def _problem(label: str, what: str, how: str) -> ProblemsFound:
    return ProblemsFound([Problem(what, f"inherited socket {label!r}", how=how)])
