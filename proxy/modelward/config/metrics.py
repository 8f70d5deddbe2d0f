"""What metrics tell beyond what they always tell."""

from typing import Annotated

from modelward.config.fields import AfterValidator, Field
from modelward.config.section import Section
from modelward.config.units import UnitError

MOST_IDENTITIES = 100


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if not name or len(name) > 128:
            raise UnitError(f"{name!r} is no name of an identity", "Write 1 to 128 characters")
        if names.count(name) > 1:
            raise UnitError(f"{name!r} is there twice", "Write each name once")
    return names


class Metrics(Section):
    """Who has metrics of their own. Without a name here no identity is a label."""

    identities: Annotated[tuple[str, ...], AfterValidator(_once)] = Field(
        default=(), strict=False, max_length=MOST_IDENTITIES
    )
    """Names of identities, as certificates, tokens or API keys prove them. Each has seven series of its own. There are
    no patterns, so that no issuer of names makes series."""
