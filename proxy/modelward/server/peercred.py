"""Who is at the other end of a Unix socket, as the kernel tells it."""

import socket
import struct

_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid
_SO_PEERGROUPS = 59  # Linux 4.13; Python has no name for it
_MOST_BYTES = 1024  # that Python lets getsockopt return: 256 groups


def user_of(connected: socket.socket) -> int | None:
    """The user id of the process that opened a Unix socket's connection (SO_PEERCRED, unix(7)); None of any other."""
    if connected.family != socket.AF_UNIX:
        return None
    credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(credentials)[1])


def groups_of(connected: socket.socket) -> tuple[int, ...]:
    """The group ids of that process, its own one first. Of one that has more than 256 others, only its own."""
    if connected.family != socket.AF_UNIX:
        return ()
    credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    first = int(_CREDENTIALS.unpack(credentials)[2])
    try:
        others = connected.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MOST_BYTES)
    except OSError:  # too many, or a kernel without the option: fewer groups are fewer rights
        return (first,)
    return (first, *(gid for gid in memoryview(others).cast("I") if gid != first))
