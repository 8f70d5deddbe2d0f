"""Who asks something of the admin API, as far as the connection proves it; what a client says of itself does not."""

import pwd
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LONGEST = 200  # characters
LOCAL = "local"
_ADDRESS = re.compile(r"ipv[46]:\[?([^\]]+?)\]?:(\d+)")
# proc_pid_net(5): gRPC's sockets are of IPv6 where there is one, and their addresses then ::ffff:127.0.0.1
_SOCKETS = (Path("/proc/net/tcp6"), Path("/proc/net/tcp"))
_LOCAL_HOSTS = ("127.0.0.1", "::1")
_ESTABLISHED = "01"
_LOOPBACK = ("0100007F", "0" * 24 + "01000000")


def actor_of(context: Any) -> str:
    """context: proxy.admin.server.Context.

    The name in the client's certificate; the user of a Unix socket's client, or of one on this machine's own addresses,
    as far as the kernel tells; else the address.
    """
    if name := _certified(context.auth_context()):
        return f"certificate {name}"[:LONGEST]
    if (uid := context.uid()) is not None:
        return f"{_user(uid)}, by the Unix socket"
    found = _ADDRESS.fullmatch(str(context.peer()))
    if found is None:
        return LOCAL
    host, port = found.groups()
    uid = _owner(int(port)) if host in _LOCAL_HOSTS else None
    if uid is not None:
        return f"{_user(uid)}, {LOCAL}"
    return f"{LOCAL if host in _LOCAL_HOSTS else 'address'} {host}"


def _certified(properties: Mapping[str, Sequence[bytes]]) -> str:
    """Its one URI, else the first other name, else the common name; empty without a certificate."""
    names = [name.decode("utf-8", "replace") for name in properties.get("x509_subject_alternative_name", ())]
    uris = [name for name in names if "://" in name]
    common = [name.decode("utf-8", "replace") for name in properties.get("x509_common_name", ())]
    chosen = next(iter([*uris, *names, *common]), "")
    return "".join(c if c.isprintable() else "?" for c in chosen)


def _owner(port: int) -> int | None:
    """The user id of the loopback socket with this local port; None where it is not told, as from another container."""
    for file in _SOCKETS:
        try:
            lines = file.read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            _, local, _, state, *_, uid = line.split()[:8]
            address, _, number = local.partition(":")
            if state == _ESTABLISHED and int(number, 16) == port and address.endswith(_LOOPBACK):
                return int(uid)
    return None


def _user(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"
