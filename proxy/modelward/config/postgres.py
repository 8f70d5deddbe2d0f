"""The PostgreSQL that keeps the audit log: `audit.postgres`."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from modelward.bounded_file import read_regular
from modelward.config.fields import Field, field_serializer, field_validator, model_validator
from modelward.config.section import Section
from modelward.config.shown_url import without_query
from modelward.config.units import SECOND, Duration, UnitError

SCHEMES = ("postgresql", "postgres")
SECRETS = ("password", "sslpassword", "passfile")
LARGEST_PASSWORD = 4096  # bytes, of its file
HOW = "Write postgresql://USER@HOST:PORT/DATABASE, postgresql:///DATABASE?host=/FOLDER/OF/SOCKET or ?service=NAME"


class Postgres(Section):
    """A PostgreSQL that keeps the audit log, in place of files. A URL alone stands for the section."""

    url: str
    """postgresql://USER@HOST:PORT/DATABASE, with options of libpq after a question mark, but for passwords. Over TCP to
    another machine its certificate is verified, unless sslmode says otherwise."""
    password_file: Path | None = Field(default=None, strict=False)
    """File with the user's password. It is read again at every connect."""
    schema_name: str = Field(default="modelward_audit", pattern=r"^[a-z_][a-z0-9_]{0,62}$")
    """Schema of the tables. They are made at the first start, if the user may; `modelward audit sql` prints how."""
    timeout: Duration = Field(default=5 * SECOND, ge=SECOND // 10, le=60 * SECOND)
    """Longest time to connect, and to write records. A human action that is not recorded within it is refused."""

    @model_validator(mode="before")
    @classmethod
    def _url_alone(cls, data: object) -> object:
        return {"url": data} if isinstance(data, str) else data

    @field_validator("url")
    @classmethod
    def _of_a_database(cls, url: str) -> str:
        return check_url(url)

    @field_serializer("url", when_used="json")
    def _shown(self, url: str) -> str:
        return self.where

    @property
    def where(self) -> str:
        """The URL as it may be shown: without user and options."""
        return without_query(self.url)

    @property
    def password(self) -> str | None:
        """That of the file; None where there is none. Raises OSError, ValueError."""
        return read_regular(self.password_file, LARGEST_PASSWORD).decode().strip() if self.password_file else None

    @property
    def options(self) -> dict[str, Any]:
        """What libpq is told beside the URL."""
        parts = urlsplit(self.url)
        given = parse_qs(parts.query)
        host = (given.get("host") or [parts.hostname or ""])[0]
        local = host.startswith(("/", "@")) or host in ("", "localhost", "127.0.0.1", "::1")
        if local or "sslmode" in given or "service" in given:
            return {}
        return {"sslmode": "verify-full"} | ({} if "sslrootcert" in given else {"sslrootcert": "system"})


def check_url(url: str) -> str:
    """Of a database, without a password. Raises UnitError without the text itself, which may hold one."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in SCHEMES
        secret = parts.password is not None or bool(parse_qs(parts.query).keys() & set(SECRETS))
    except ValueError:
        raise UnitError("this is no URL", HOW) from None
    if not known:
        raise UnitError("this is no URL of a PostgreSQL", HOW)
    if secret:
        raise UnitError("the URL holds a password, which logs and reports would show", "Use password_file")
    return url
