"""Who asks something of the admin API, as far as the connection proves it; what a client says of itself does not."""

import ipaddress
import pwd
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelward.access.names import common_name, of_certificate

LONGEST = 200  # characters
LOCAL = "local"
_ESTABLISHED = "01"
End = tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]


def actor_of(context: Any) -> str:
    """context: modelward.admin.server.Context.

    The name in the client's certificate; the user of a Unix socket's client, or of one on this machine's own addresses,
    as far as the kernel tells; else the address.
    """
    if name := certified(context.certificate()):
        return f"certificate {name}"[:LONGEST]
    if (uid := context.uid()) is not None:
        return f"{_user(uid)}, by the Unix socket"
    ends = context.ends()
    if ends is None:
        return LOCAL
    theirs, ours = (_end(*end) for end in ends)
    host, _ = theirs
    if not host.is_loopback:
        return f"address {host}"
    uid = _owner(theirs, ours)
    return f"{LOCAL} {host}" if uid is None else f"{_user(uid)}, {LOCAL}"


def certified(certificate: Mapping[str, Any]) -> str:
    """Its name for people, else the common name; empty where it has neither. What proves an operator is decided
    elsewhere (modelward.operators.authenticate)."""
    chosen = of_certificate(certificate) or common_name(certificate) or ""
    return "".join(c if c.isprintable() else "?" for c in chosen)


def _owner(theirs: End, ours: End) -> int | None:
    """The user id of the socket at the client's end; None where it is not told, as from another container.

    Both ends are compared (proc_pid_net(5)): another user's socket may have the same port on another address.
    """
    for file in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        try:
            lines = file.read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            _, local, remote, state, *_, uid = line.split()[:8]
            if state == _ESTABLISHED and _parsed(local) == theirs and _parsed(remote) == ours:
                return int(uid)
    return None


def _parsed(written: str) -> End:
    """An end as the kernel writes it: words of 32 bits in the machine's order, in hexadecimal."""
    words, _, port = written.partition(":")
    raw = b"".join(int(words[i : i + 8], 16).to_bytes(4, sys.byteorder) for i in range(0, len(words), 8))
    return _end(str(ipaddress.ip_address(raw)), int(port, 16))


def _end(host: str, port: int) -> End:
    address = ipaddress.ip_address(host)
    return getattr(address, "ipv4_mapped", None) or address, port


def _user(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"
