"""Where a listener listens: host and port, or the path of a Unix socket."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated

from modelward.config.fields import PlainSerializer, PlainValidator, WithJsonSchema
from modelward.config.units import UnitError

HOW = "Write host:port (127.0.0.1:8001, [::1]:8001, 0.0.0.0:8001) or unix:/path/of.sock"
OFF = "off"
# sockaddr_un.sun_path holds 108 bytes, the last of them a zero.
LONGEST_SOCKET_PATH = 107
_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?:\.(?!-)[A-Za-z0-9-]{1,63})*", re.ASCII)


@dataclass(frozen=True)
class Address:
    """Either `host` (IPv6 without brackets) and `port` (0: the kernel chooses), or `path` of a Unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def is_unix(self) -> bool:
        return bool(self.path)

    @property
    def is_local(self) -> bool:
        """Whether no client can connect from another machine: a Unix socket, localhost or an address of loopback."""
        try:
            return self.is_unix or self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:  # another host name
            return False

    def with_port(self, port: int) -> "Address":
        """The same host with another port. Raises UnitError for a Unix socket or a port out of range."""
        if self.is_unix:
            raise UnitError(f"a port does not fit {self}", "Set the whole address instead of the port")
        return Address(host=self.host, port=_port(str(port), f"port {port}"))

    def __str__(self) -> str:
        if self.is_unix:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _port(text: str, shown: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65535:
        raise UnitError(f"{shown} is not between 0 and 65535", HOW)
    return int(text)


def parse_address(value: object) -> Address:
    """`host:port`, `[v6]:port` or `unix:/path`; host names are looked up only when listening. Raises UnitError."""
    if isinstance(value, Address):
        return value
    if not isinstance(value, str):
        raise UnitError(f"{value!r} is not an address", HOW)
    if value.startswith("unix:"):
        path = value.removeprefix("unix:")
        if not path.startswith("/") or "\0" in path:
            raise UnitError(f"{value!r} is not an absolute path", HOW)
        if len(path.encode()) > LONGEST_SOCKET_PATH:
            raise UnitError(f"{value!r} is longer than {LONGEST_SOCKET_PATH} bytes", "The kernel takes no longer path")
        return Address(path=path)
    host, colon, port = value.rpartition(":")
    if not colon:
        raise UnitError(f"{value!r} has no port", HOW)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        try:
            ipaddress.IPv6Address(host)
        except ValueError as error:
            raise UnitError(f"{value!r} has no IPv6 address in its brackets", HOW) from error
    elif not _HOST_NAME.fullmatch(host):
        raise UnitError(f"{value!r} has no valid host", HOW)
    return Address(host=host, port=_port(port, f"the port of {value!r}"))


ListenAddress = Annotated[
    Address,
    PlainValidator(parse_address),
    PlainSerializer(str, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "examples": ["127.0.0.1:8001", "[::1]:8001", "unix:/run/modelward.sock"]}),
]


def parse_address_or_off(value: object) -> Address | None:
    """As `parse_address`; None for "off". Raises UnitError."""
    return None if value == OFF else parse_address(value)


AddressOrOff = Annotated[
    Address | None,
    PlainValidator(parse_address_or_off),
    PlainSerializer(lambda address: str(address or OFF), return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "examples": ["127.0.0.1:8003", "unix:/run/modelward/admin.sock", OFF]}),
]
