"""Limits: how much may come over time and at once, of requests or of backend time, and for whom it differs."""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from modelward.bounded_file import read_regular
from modelward.config.access import By
from modelward.config.fields import (
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
    field_serializer,
    field_validator,
    model_validator,
)
from modelward.config.section import Section
from modelward.config.shown_url import without_query
from modelward.config.units import (
    DURATION_PATTERN,
    SECOND,
    BackendTime,
    Duration,
    Rate,
    UnitError,
    format_duration,
    parse_backend_time,
    parse_duration,
    parse_rate,
)

LARGEST_BURST = 2**31 - 1
MOST_OVERRIDES = 1024
HOW = "Write rate: 1000/s, or time: 500ms/s"


def default_burst(rate: float | None, time: float | None) -> int:
    """A tenth of a second's worth, at least one: absorbs a client's bundle of calls, hides no lasting excess."""
    return max(1, round(time * SECOND / 10)) if time is not None else max(1, round((rate or 0) / 10))


def _count(burst: object) -> int:
    """Raises UnitError."""
    if not isinstance(burst, int) or isinstance(burst, bool) or not 1 <= burst <= LARGEST_BURST:
        raise UnitError(f"{burst!r} is no number of requests", f"Write a whole number from 1 to {LARGEST_BURST}")
    return burst


class Allowance(Section):
    """A rate that holds over time, and the burst that may come at once (GCRA)."""

    rate: Rate | None = None
    """Requests per second, minute or hour."""
    time: BackendTime | None = None
    """In place of rate: backend time per second. It may be more than 1s/s where models have several backends or cores.
    A request is charged what requests of its size for its model took lately, and after its run what it took."""
    burst: Annotated[
        int,
        WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": DURATION_PATTERN}]}),
    ] = Field(default_factory=lambda known: default_burst(known["rate"], known["time"]))
    """What may come at once: a number of requests, or with `time` a duration. Absent: a tenth of a second's worth, at
    least 1."""

    @field_validator("burst", mode="before")
    @classmethod
    def _in_the_unit_of_the_rate(cls, burst: object, info: ValidationInfo) -> int:
        if info.data.get("time") is not None:
            return parse_duration(burst)
        return _count(burst)

    @field_serializer("burst", when_used="json")
    def _as_written(self, burst: int) -> int | str:
        return format_duration(burst) if self.timed else burst

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.rate is not None and self.time is not None:
            raise UnitError("rate and time are both set", "Keep the one that is to count")
        if not self.limits and "burst" in self.model_fields_set:
            raise UnitError("burst without rate or time", HOW)
        return self

    @property
    def limits(self) -> bool:
        """It says how much."""
        return self.rate is not None or self.time is not None

    @property
    def timed(self) -> bool:
        return self.time is not None

    @property
    def native(self) -> tuple[float, int, bool]:
        """As the data plane takes it: per second, at once, whether of backend time (seconds, ns) or of requests."""
        return (self.time if self.time is not None else self.rate or 0.0), self.burst, self.timed


class Limit(Allowance):
    """A rate limit."""

    @classmethod
    def of(cls, rate: str | None, time: str | None, burst: int | str | None) -> Self:
        """As it is written, where a process does not check sections; None: not written. Raises UnitError."""
        if (rate is None) == (time is None):
            raise UnitError("neither rate nor time is set" if rate is None else "rate and time are both set", HOW)
        per_second = parse_rate(rate) if rate is not None else None
        share = parse_backend_time(time) if time is not None else None
        if burst is None:
            at_once = default_burst(per_second, share)
        else:
            at_once = parse_duration(burst) if share is not None else _count(burst)
        return cls.model_construct(rate=per_second, time=share, burst=at_once)

    @model_validator(mode="after")
    def _says_how_much(self) -> Self:
        if not self.limits:
            raise UnitError("neither rate nor time is set", HOW)
        return self


def _are_networks(overrides: Iterable[str]) -> None:
    for text in overrides:
        try:
            ipaddress.ip_network(text)
        except ValueError as error:
            raise UnitError(f"{text!r} is no network: {error}", "Write 10.0.0.0/8, fd00::/8 or an address") from None


class PeerLimit(Allowance):
    """Applies to each peer address. limits.ipv6.prefix says which IPv6 addresses are one peer."""

    overrides: Mapping[str, Limit] = Field(default_factory=dict, max_length=MOST_OVERRIDES)
    """Limits of each address in a network, by network: "10.0.0.0/8": {rate: 5000/s}. The longest prefix counts."""

    @field_validator("overrides")
    @classmethod
    def _by_network(cls, overrides: Mapping[str, Limit]) -> Mapping[str, Limit]:
        _are_networks(overrides)
        return overrides

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.limits and not self.overrides:
            raise UnitError("neither rate nor time is set", HOW)
        return self


HIGHEST_PRIORITY, LOWEST_PRIORITY = 1, 100
EVERY_IDENTITY = (5, 9)
HOW_PRIORITY = "Write a number from 1 (goes first) to 100, or a range: 2-7"


def parse_priority(value: object) -> object:
    """`3` -> (3, 3), `2-7` -> (2, 7): highest and lowest. Raises UnitError."""
    if isinstance(value, tuple):
        return value
    found = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", str(value), re.ASCII) if not isinstance(value, bool) else None
    if found is None:
        raise UnitError(f"{value!r} is not a priority", HOW_PRIORITY)
    highest, lowest = int(found[1]), int(found[2] or found[1])
    if highest > lowest:
        raise UnitError(f"{value!r} is reversed: the lower number goes first", f"Write {lowest}-{highest}")
    if not HIGHEST_PRIORITY <= highest <= lowest <= LOWEST_PRIORITY:
        raise UnitError(f"{value!r} is out of range", HOW_PRIORITY)
    return highest, lowest


def format_priority(value: tuple[int, int]) -> int | str:
    return value[0] if value[0] == value[1] else f"{value[0]}-{value[1]}"


Priority = Annotated[
    tuple[int, int],
    BeforeValidator(parse_priority),
    PlainSerializer(format_priority, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": HIGHEST_PRIORITY, "maximum": LOWEST_PRIORITY},
                {"type": "string", "pattern": r"^\d{1,3}(-\d{1,3})?$"},
            ]
        }
    ),
]


class Share(Allowance):
    """Limit of some identities. Without rate and time, they have the limit of all identities."""

    weight: int = Field(default=1, ge=1, le=100)
    """Their share of a busy backend, relative to the weights of others."""
    priority: Priority | None = None
    """A number: the priority of all their requests, whatever they ask for. 1 goes first. A range, 2-7: a request may
    ask for any priority in it (parameter `priority`, 5 where absent), which orders the requests of its own identity.
    Absent: the range of all identities."""
    by: By = Field(default=("any",), strict=False, min_length=1)
    """How the identity must be proved for this to apply."""


class IdentityLimit(Allowance):
    """Applies to each identity. Callers without an identity share the budget of their peer address."""

    overrides: Mapping[str, Share] = Field(default_factory=dict, max_length=MOST_OVERRIDES)
    """Limits of identities by name, where * stands for any characters: "spiffe://prod/*": {rate: 5000/s, weight: 4}. A
    name without * counts before patterns. Of several patterns, the one with the most other characters counts."""

    priority: Priority = EVERY_IDENTITY
    """Priorities that requests may ask for, of identities without a range of their own. By default a request can only
    lower its priority: 1 to 4 count as 5."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.limits and not self.overrides and "priority" not in self.model_fields_set:
            raise UnitError("neither rate nor time is set", HOW)
        return self


STORES = ("redis", "rediss", "unix")
LARGEST_PASSWORD = 4096  # bytes, of its file
HOW_STORE = "Write redis://[:password@]host:port/db, rediss:// for TLS, or unix:///path/of/socket?db=0"


class Shared(Section):
    """A Redis or Valkey through which servers hold one identity, one model and one total limit together. A URL alone
    stands for the section."""

    url: str
    """redis://[:password@]host:port/db, rediss:// for TLS, unix:///path/of/socket?db=0."""
    password_file: Path | None = Field(default=None, strict=False)
    """File with the password of the store, in place of one in the URL. It is read again at every connect."""
    interval: Duration = Field(default=SECOND // 10, ge=SECOND // 50, le=SECOND)
    """How often servers tell each other, through the store, what they have admitted."""
    prefix: str = Field(default="modelward", min_length=1, max_length=64)
    """Prefix of the keys in the store. Servers with the same prefix share their limits, which must be equal."""

    @model_validator(mode="before")
    @classmethod
    def _url_alone(cls, data: object) -> object:
        return {"url": data} if isinstance(data, str) else data

    @field_validator("url")
    @classmethod
    def _of_a_store(cls, url: str) -> str:
        return check_url(url)

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
    def password(self) -> str | None:
        """That of the file, None where the URL says all; raises OSError."""
        return read_regular(self.password_file, LARGEST_PASSWORD).decode().strip() if self.password_file else None


def check_url(url: str) -> str:
    """Of a store. Raises UnitError without the text itself, which may hold a password."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in STORES and (parts.port or 1) > 0
    except ValueError:
        raise UnitError("this is no URL", HOW_STORE) from None
    if not known or not (parts.path if parts.scheme == "unix" else parts.hostname):
        raise UnitError("this is no URL of a Redis or Valkey", HOW_STORE)
    return url
