"""Limits that an operator has set for a time, in place of those of the configuration."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from modelward.config.access import pattern
from modelward.config.limits import Limits
from modelward.config.rate_limit import IdentityLimit, Limit, Share

Kind = Literal["model", "identity"]


class TemporaryLimit(Struct, frozen=True):
    """Of a model, or of an identity by whatever proves it. until: seconds since 1970. by: who has set it."""

    kind: Kind
    name: str
    limit: Limit
    until: float
    by: str = ""
    reason: str = ""

    @property
    def words(self) -> str:
        """What it allows: `100/s, burst 10`."""
        written = self.limit.model_dump(mode="json", exclude_none=True)
        return f"{written.get('rate') or written.get('time')}, burst {written['burst']}"


def with_temporary(limits: Limits, temporary: Iterable[TemporaryLimit]) -> Limits:
    """The limits, with those of identities in place of the configured ones. Weight and priority stay."""
    of_identities = {each.name: each.limit for each in temporary if each.kind == "identity"}
    if not of_identities:
        return limits
    identity = limits.identity or IdentityLimit.model_construct(rate=None, time=None, burst=1)
    overrides = dict(identity.overrides)
    for name, limit in of_identities.items():
        share = _configured(identity, name)
        fields = {"rate": limit.rate, "time": limit.time, "burst": limit.burst, "by": ("any",)}
        overrides[name] = share.model_copy(update=fields)
    return limits.model_copy(update={"identity": identity.model_copy(update={"overrides": overrides})})


def _configured(identity: IdentityLimit, name: str) -> Share:
    """As modelward.limits.overrides finds it."""
    ordered = sorted(identity.overrides, key=lambda each: ("*" in each, -len(each.replace("*", ""))))
    return next((identity.overrides[each] for each in ordered if pattern(each).fullmatch(name)), Share())
