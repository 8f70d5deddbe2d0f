"""The access log: a sample of the inference requests that have ended."""

from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from modelward.config.access import LOOPBACK
from modelward.config.fields import BeforeValidator, Field, field_serializer, model_validator
from modelward.config.section import Section
from modelward.config.shown_url import origin, told_apart
from modelward.config.units import UnitError


def _collector(value: object) -> object:
    if isinstance(value, str):
        url = urlsplit(value)
        if url.scheme != "https" and not (url.scheme == "http" and url.hostname in LOOPBACK):
            how = "Write http://127.0.0.1:4318/v1/logs, or an https URL"
            raise UnitError(f"{origin(value)[:200]!r} is no URL of a collector: http is only for this machine", how)
        if url.username or url.password:
            raise UnitError("the URL holds a password", "Let a collector on this machine add it")
    return value


class AccessLogSettings(Section):
    """A line for each of a sample of the inference requests. Without file and otlp: to stdout."""

    sample: float = Field(default=0.01, gt=0, le=1)
    """Share of the requests that are logged."""
    file: Path | None = Field(default=None, strict=False)
    """File that lines of JSON are appended to. All workers write to it. It is opened again when it was moved away."""
    otlp: Annotated[str | None, BeforeValidator(_collector)] = Field(default=None, repr=False)
    """URL of an OpenTelemetry collector for logs over HTTP, such as http://127.0.0.1:4318/v1/logs."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.file is not None and self.otlp is not None:
            raise UnitError("access_log has file and otlp", "Leave one of them out")
        return self

    @field_serializer("otlp", when_used="json")
    def _shown(self, url: str | None) -> str | None:
        return url and told_apart(url)

    @property
    def where(self) -> str:
        """In words."""
        if self.otlp is not None:
            return origin(self.otlp)
        return str(self.file) if self.file is not None else "stdout"
