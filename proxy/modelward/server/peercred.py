"""Who is at the other end of a Unix socket, as the kernel tells it."""

import socket
import struct

_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid


def user_of(connected: socket.socket) -> int | None:
    """The user id of the process that opened a Unix socket's connection (SO_PEERCRED, unix(7)); None of any other."""
    if connected.family != socket.AF_UNIX:
        return None
    credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(credentials)[1])
