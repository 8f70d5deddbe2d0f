"""How long records of the audit trail are kept: `audit.retention`."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Annotated, Self

from modelward.config.fields import AfterValidator, Field, model_validator
from modelward.config.section import Section
from modelward.config.units import UnitError


def _aware(at: datetime) -> datetime:
    """With a zone of Python's own: what holds a configuration does not always have pydantic's."""
    return at.replace(tzinfo=timezone(at.utcoffset() or timedelta()))


Moment = Annotated[datetime, AfterValidator(_aware)]


class Hold(Section):
    """Records that are kept although they are older. Of several keys all must fit; without any, every record is."""

    model: str = Field(default="*", min_length=1)
    """Name of a model, where * stands for any characters."""
    actor: str = Field(default="*", min_length=1)
    """Name of who did it, likewise."""
    since: Moment | None = Field(default=None, strict=False)
    """Records of then and later. Without a zone it is UTC."""
    until: Moment | None = Field(default=None, strict=False)
    """Records of before then."""
    reason: str = ""
    """For people: the case that it is for."""

    @model_validator(mode="after")
    def _is_some_time(self) -> Self:
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise UnitError("until is not after since", "Set until to a later time, or leave one out")
        return self


class Retention(Section):
    """After how long the contents of records are removed, 256 at a time. Their hashes stay: what is left still
    verifies, and a record tells of each removal."""

    days: int = Field(ge=1, le=36_500)
    """Age from which on records are removed."""
    legal_hold: tuple[Hold, ...] = Field(default=(), strict=False, max_length=100)
    """Records that are kept until they are taken off this list."""
