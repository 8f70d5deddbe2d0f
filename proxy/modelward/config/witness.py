"""Who is told of the audit log's checkpoints: `audit.witnesses`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from modelward.bounded_file import read_regular
from modelward.config.fields import Field, field_serializer, model_validator
from modelward.config.section import Section
from modelward.config.shown_url import origin, told_apart
from modelward.config.units import UnitError

LOCAL = ("localhost", "127.0.0.1", "::1")
LARGEST_TOKEN = 4096  # bytes, of its file
HOW = "Set one of url, folder and webhook"


class Witness(Section):
    """Is told of each checkpoint, and remembers it where the owner of the log's disk cannot change it."""

    url: str | None = Field(default=None, repr=False)
    """Submission prefix of a witness of the C2SP protocol (`modelward audit witness` is one): https://HOST/. http://
    only on this machine."""
    key: str | None = None
    """Public key of its cosignatures, NAME+KEYID+KEY, which it prints when it starts."""
    folder: Path | None = Field(default=None, strict=False)
    """Folder on another volume, or another machine's, in place of a server: the log's newest checkpoint is kept there,
    and compared with."""
    webhook: str | None = Field(default=None, repr=False)
    """https:// URL that each checkpoint is posted to, as JSON. It is told, and asked for nothing. Its path
    may be a secret: no log, status or metric shows it."""
    token_file: Path | None = Field(default=None, strict=False)
    """File with a bearer token for the url or the webhook. It is read again each time."""
    certificate_authority: Path | None = Field(default=None, strict=False)
    """File with the authorities of its server certificate. Absent: the system's."""

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if sum(each is not None for each in (self.url, self.folder, self.webhook)) != 1:
            raise UnitError("a witness is a url, a folder or a webhook", HOW)
        if (self.url is None) != (self.key is None):
            raise UnitError("url and key go together", "Set key to what the witness prints when it starts")
        for url in filter(None, (self.url, self.webhook)):
            parts = urlsplit(url)
            local = parts.scheme == "http" and parts.hostname in LOCAL
            if not parts.hostname or parts.password is not None or not (parts.scheme == "https" or local):
                raise UnitError("a witness has an https:// URL without a password", "Write https://HOST/PATH")
        return self

    @property
    def name(self) -> str:
        """As it may be shown. See also `names`."""
        return str(self.folder) if self.folder is not None else origin(self.url or self.webhook or "")

    @field_serializer("url", "webhook", when_used="json")
    def _shown(self, url: str | None) -> str | None:
        return url and told_apart(url)

    @property
    def token(self) -> str | None:
        """Raises OSError, ValueError."""
        return read_regular(self.token_file, LARGEST_TOKEN).decode("ascii").strip() if self.token_file else None


def names(witnesses: Iterable[Witness]) -> list[str]:
    """As they may be shown; with their place in the list where two would be the same."""
    plain = [each.name for each in witnesses]
    often = Counter(plain)
    return [f"{name} ({place})" if often[name] > 1 else name for place, name in enumerate(plain, 1)]
