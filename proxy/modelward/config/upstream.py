"""Where an upstream listens: host:port, dns:///name:port, unix:/path."""

import asyncio
import socket
from dataclasses import dataclass
from typing import Annotated

from modelward.config.fields import BeforeValidator, Field
from modelward.config.tls import UpstreamTls
from modelward.config.units import UnitError
from modelward.config.variables import expanded

HOW = "Write host:port, dns:///name:port or unix:/path/of.sock"


@dataclass(frozen=True)
class UpstreamAddress:
    """host and port, or the path of a Unix socket. text: as it was written, for tables and metrics."""

    text: str
    host: str = ""
    port: int = 0
    path: str = ""
    tls: UpstreamTls | None = None
    """How it is spoken to; None for plain text."""
    ip: str = ""
    """The one of the addresses behind the name that an endpoint stands for; empty for whichever is resolved first."""

    @property
    def is_many(self) -> bool:
        """Whether every address behind the name is an endpoint: dns:///name:port."""
        return self.text.startswith("dns:///") and not self.ip

    @property
    def shows_certificate(self) -> bool:
        """Whether we prove to it who we are."""
        return self.tls is not None and self.tls.certificate is not None

    @property
    def authority(self) -> str:
        """What :authority says: the name that was configured, never what it resolved to."""
        return self.server_name if self.path else _joined(self.server_name, self.port)

    @property
    def server_name(self) -> str:
        """The name it is asked for, and that its certificate must hold."""
        return (self.tls.server_name if self.tls else None) or self.host or "localhost"

    @property
    def target(self) -> str:
        """The same address as grpcio writes it."""
        if self.ip:
            return f"{'ipv6' if ':' in self.ip else 'ipv4'}:{_joined(self.ip, self.port)}"
        return f"unix:{self.path}" if self.path else f"dns:///{_joined(self.host, self.port)}"


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_upstream(text: str, tls: UpstreamTls | None = None) -> UpstreamAddress:
    """Raises UnitError where `text` is no address."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/") or "\0" in path:
            raise UnitError(f"{text!r} is not an absolute path", HOW)
        return UpstreamAddress(text, path=path, tls=tls)
    if text.startswith(("http://", "https://", "grpc://")):
        scheme, _, rest = text.partition("://")
        rest = rest.rpartition("@")[2]
        how = f"Leave out {scheme}://" + (", and set upstream_tls" if scheme == "https" else "")
        raise UnitError(f"{f'{scheme}://{rest}'!r} is not an upstream address", f"{how}: {rest.rstrip('/')}")
    if "@" in text:  # told without what may be a password
        raise UnitError(
            f"the upstream {text.rpartition('@')[2]!r} is written with a user", "Leave out what is before @"
        )
    host, colon, port = text.removeprefix("dns:///").rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UnitError(f"{text!r} is not an upstream address", HOW)
    return UpstreamAddress(text, host=host, port=int(port), tls=tls)


def _written(text: object) -> str:
    if not isinstance(text, str):
        raise UnitError(f"{text!r} is not an upstream address", HOW)
    text = expanded(text) if text.startswith("unix:") else text
    parse_upstream(text)
    return text


Upstreams = Annotated[tuple[Annotated[str, BeforeValidator(_written)], ...], Field(strict=False)]


async def resolve(address: UpstreamAddress) -> list[str]:
    """The IP addresses behind a name, in the resolver's order; for a Unix socket its path. Raises OSError."""
    if address.path or address.ip:
        return [address.path or address.ip]
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label of more than 63 characters, or none
        raise OSError(f"{address.host!r} is no host name") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def parse_upstreams(upstreams: tuple[str, ...], tls: UpstreamTls | None) -> list[UpstreamAddress]:
    return [parse_upstream(text, tls) for text in upstreams]
