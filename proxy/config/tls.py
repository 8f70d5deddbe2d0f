"""TLS: of the listener, and towards upstreams."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from proxy.config.section import Section
from proxy.config.units import UnitError


class Tls(Section):
    """TLS 1.2 or 1.3 on listen.grpc. The files are loaded again when they change."""

    certificate: Path = Field(strict=False)
    """PEM: the server's certificate first, then its chain; relative to the configuration file."""
    key: Path = Field(strict=False)
    """PEM, not encrypted; relative to the configuration file."""
    client_ca: Path | None = Field(default=None, strict=False)
    """PEM: the authorities of clients' certificates. Absent: clients are not asked for one."""
    require_client_certificate: bool = False
    """true: no connection without a certificate of client_ca; false: one that is shown must be valid."""

    @model_validator(mode="after")
    def _requires_somebody(self) -> Self:
        if self.require_client_certificate and self.client_ca is None:
            raise UnitError(
                "require_client_certificate is true and there is no client_ca",
                "Set client_ca to the authority of the clients' certificates",
            )
        return self


class AdminTls(Section):
    """mTLS on listen.admin: no connection without a certificate of client_ca, whose holder may do everything. The files
    are loaded again when they change."""

    certificate: Path = Field(strict=False)
    """PEM: the server's certificate first, then its chain; relative to the configuration file."""
    key: Path = Field(strict=False)
    """PEM, not encrypted; relative to the configuration file."""
    client_ca: Path = Field(strict=False)
    """PEM: the authorities of operators' certificates; relative to the configuration file."""


class UpstreamTls(Section):
    """TLS towards upstreams, whose certificates must be of `ca` and for the name they were configured by."""

    ca: Path = Field(strict=False)
    """PEM: the authorities of the upstreams' certificates; relative to the configuration file."""
    certificate: Path | None = Field(default=None, strict=False)
    """PEM: ours, for upstreams that ask for one (mTLS)."""
    key: Path | None = Field(default=None, strict=False)
    """PEM, not encrypted: of certificate."""
    server_name: str | None = Field(default=None, min_length=1)
    """The name in the upstreams' certificates and in :authority, where it is not the host they are reached at."""

    @model_validator(mode="after")
    def _certificate_and_key(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise UnitError("certificate and key come together", "Set both, or neither")
        return self
