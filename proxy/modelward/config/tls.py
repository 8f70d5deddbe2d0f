"""TLS: of the listener, and towards upstreams."""

from pathlib import Path
from typing import Self

from modelward.config.fields import Field, model_validator
from modelward.config.section import Section
from modelward.config.units import UnitError


class Tls(Section):
    """TLS 1.2 or 1.3. The files are loaded again when they change."""

    certificate: Path = Field(strict=False)
    """PEM: the server's certificate, then its chain. Relative to the configuration file."""
    key: Path = Field(strict=False)
    """PEM, not encrypted. Relative to the configuration file."""
    client_ca: Path | None = Field(default=None, strict=False)
    """PEM: certificate authorities of clients. Absent: clients are not asked for a certificate."""
    require_client_certificate: bool = False
    """true: every connection needs a certificate of client_ca. false: a client may show none, but one that it shows
    must be valid."""

    @model_validator(mode="after")
    def _requires_somebody(self) -> Self:
        if self.require_client_certificate and self.client_ca is None:
            raise UnitError(
                "require_client_certificate is true and there is no client_ca",
                "Set client_ca to the authority of the clients' certificates",
            )
        return self


class AdminTls(Section):
    """Without operators, the holder of each certificate of client_ca may do everything. The files are loaded again when
    they change."""

    certificate: Path = Field(strict=False)
    """PEM: the server's certificate, then its chain. Relative to the configuration file."""
    key: Path = Field(strict=False)
    """PEM, not encrypted. Relative to the configuration file."""
    client_ca: Path | None = Field(default=None, strict=False)
    """PEM: certificate authorities of operators. Relative to the configuration file. Every connection needs a
    certificate of theirs, unless operators.tokens is set: then a token will do, and client_ca may be left out."""


class UpstreamTls(Section):
    """The certificates of upstreams must be of `ca`, and for the name that the upstream is configured by."""

    ca: Path = Field(strict=False)
    """PEM: certificate authorities of the upstreams. Relative to the configuration file."""
    certificate: Path | None = Field(default=None, strict=False)
    """PEM: this server's certificate, for upstreams that ask for one (mTLS)."""
    key: Path | None = Field(default=None, strict=False)
    """PEM, not encrypted: the key of `certificate`."""
    server_name: str | None = Field(default=None, min_length=1)
    """Name in the upstreams' certificates and in :authority, where it is not the host of the address."""

    @model_validator(mode="after")
    def _certificate_and_key(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise UnitError("certificate and key come together", "Set both, or neither")
        return self
