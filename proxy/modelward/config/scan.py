"""What a scan of a version's files may find for the version to be served."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from modelward.config.fields import BeforeValidator
from modelward.config.section import Section
from modelward.config.units import UnitError

Severity = Literal["critical", "high", "medium", "low", "info"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)  # the worst first


class RefusedBy(Section):
    """Versions of which a scan finds something as severe as this, or more, are refused."""

    refuse: Severity
    """The mildest severity that keeps a version from being served."""


def _policy(value: object) -> object:
    if isinstance(value, str) and value not in ("off", "warn"):
        raise UnitError(f"{value!r} is no policy for scans", "Write off, warn or {refuse: high}")
    return value


ScanPolicy = Annotated[Literal["off", "warn"] | RefusedBy, BeforeValidator(_policy)]
