"""The fleet that a server belongs to: the section `fleet`."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from modelward.bounded_file import read_regular
from modelward.config import postgres, rate_limit
from modelward.config.fields import Field, field_serializer, field_validator, model_validator
from modelward.config.section import Section
from modelward.config.shown_url import without_query
from modelward.config.units import SECOND, Duration, UnitError

LONGEST_NAME = 63
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
HOW = "Write redis://HOST:PORT/DB, rediss:// for TLS, unix:///PATH/OF/SOCKET, or postgresql://USER@HOST:PORT/DATABASE"


class Fleet(Section):
    """The store through which servers share promotions. A URL alone stands for the section."""

    url: str
    """A Valkey or Redis, as in limits.shared: redis://host:port/db, rediss:// for TLS, unix:///path/of/socket?db=0. Or
    a PostgreSQL, as in audit.postgres: postgresql://USER@HOST:PORT/DATABASE."""
    password_file: Path | None = Field(default=None, strict=False)
    """File with the password of the store, in place of one in the URL. It is read again at every connect."""
    name: str = Field(default="modelward", pattern=NAME)
    """Servers with the same name in the same store are one fleet. They must serve the same repository."""
    replica: str | None = Field(default=None, pattern=NAME)
    """What the others call this server. Absent: the name of its host, which in Kubernetes is that of its pod. Each
    server of a fleet needs another."""
    interval: Duration = Field(default=SECOND // 2, ge=SECOND // 10, le=5 * SECOND)
    """How often servers look at what the others have done, and tell what they have counted."""

    @model_validator(mode="before")
    @classmethod
    def _url_alone(cls, data: object) -> object:
        return {"url": data} if isinstance(data, str) else data

    @field_validator("url")
    @classmethod
    def _of_a_store(cls, url: str) -> str:
        scheme = url.partition(":")[0]
        if scheme in postgres.SCHEMES:
            return postgres.check_url(url)
        if scheme in rate_limit.STORES:
            return rate_limit.check_url(url)
        raise UnitError("this is no URL of a Valkey, Redis or PostgreSQL", HOW)

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if self.password_file is not None and urlsplit(self.url).password:
            raise UnitError("password_file is set and the URL holds a password", "Keep the file")
        return self

    @field_serializer("url", when_used="json")
    def _without_password(self, url: str) -> str:
        return self.where

    @property
    def where(self) -> str:
        """The URL as it may be shown: without user, password and options."""
        return without_query(self.url)

    @property
    def is_postgres(self) -> bool:
        return urlsplit(self.url).scheme in postgres.SCHEMES

    @property
    def password(self) -> str | None:
        """That of the file, None where the URL says all. Raises OSError, ValueError."""
        return (
            read_regular(self.password_file, postgres.LARGEST_PASSWORD).decode().strip() if self.password_file else None
        )

    @property
    def called(self) -> str:
        """What the others call this server."""
        return (
            self.replica or "".join(c if c.isalnum() or c in "._-" else "-" for c in socket.gethostname())[:63] or "-"
        )
