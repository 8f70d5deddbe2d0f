"""Where the server listens."""

from typing import Annotated

from modelward.config.address import Address, AddressOrOff, ListenAddress
from modelward.config.fields import BeforeValidator, PlainSerializer
from modelward.config.mode import DEFAULT_MODE, MODE_SCHEMA, parse_mode, write_mode
from modelward.config.section import Section


class Listen(Section):
    """Addresses that the server listens on."""

    grpc: ListenAddress = Address(host="127.0.0.1", port=8001)
    """Address of the Open Inference Protocol (gRPC): host:port, [v6]:port or unix:/path."""
    mode: Annotated[int, BeforeValidator(parse_mode), PlainSerializer(write_mode, when_used="json"), MODE_SCHEMA] = (
        DEFAULT_MODE
    )
    """Permissions of the Unix socket of listen.grpc, in quotes, as chmod takes them."""
    http: ListenAddress = Address(host="127.0.0.1", port=8002)
    """Address of /metrics, /healthz and /readyz, in plain HTTP."""
    admin: AddressOrOff = Address(host="127.0.0.1", port=8003)
    """Address of the admin API. `off`: there is none. `operators` says who may do what; without it, every client that
    can connect may do everything. A Unix socket then admits only the server's user and root. An address that other
    machines can reach needs admin_tls."""
