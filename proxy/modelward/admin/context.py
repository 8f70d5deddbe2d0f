"""What a connection of the admin API tells of its client."""

import ssl
from collections.abc import Mapping
from typing import Any

from modelward.server.peercred import groups_of, user_of
from modelward_native.wire.call import Call


class Context:
    """What a method may know of the client that calls it."""

    def __init__(self, call: Call) -> None:
        self._call = call

    @property
    def peer(self) -> str:
        """Its address, as gRPC writes it."""
        return self._call.peer

    def uid(self) -> int | None:
        """Of the process that opened a Unix socket's connection; None of any other."""
        found = self._told("socket")
        return user_of(found) if found is not None else None

    def gids(self) -> tuple[int, ...]:
        """Of the same process; empty of any other."""
        found = self._told("socket")
        return groups_of(found) if found is not None else ()

    def metadata(self) -> Mapping[str, str]:
        """Headers of the call by lower-case name; of one that came several times the last."""
        return self._call.metadata

    def repeats(self, name: str) -> bool:
        """Whether a header came several times."""
        return name in self._call.repeated

    def ends(self) -> tuple[tuple[str, int], tuple[str, int]] | None:
        """Host and port of the client's end of the connection, and of ours; None where it has no addresses."""
        transport = self._call.transport
        names = [transport.get_extra_info(name) for name in ("peername", "sockname")] if transport is not None else []
        if len(names) < 2 or not all(isinstance(name, tuple) and len(name) >= 2 for name in names):
            return None
        theirs, ours = ((str(name[0]), int(name[1])) for name in names)
        return theirs, ours

    def certificate(self) -> Mapping[str, Any]:
        """As SSLSocket.getpeercert gives it: verified. Empty without one."""
        return self._told("peercert") or {}

    def issuer(self) -> str:
        """Who signed its certificate, as `commonName=Operators, organizationName=Example`; empty without TLS."""
        return ", ".join(f"{name}={value}" for part in self.certificate().get("issuer", ()) for name, value in part)

    def not_after(self) -> float | None:
        """End of its certificate, in seconds since 1970; None without TLS."""
        certificate = self.certificate()
        return ssl.cert_time_to_seconds(certificate["notAfter"]) if "notAfter" in certificate else None

    def _told(self, name: str) -> Any:
        transport = self._call.transport
        return transport.get_extra_info(name) if transport is not None else None
