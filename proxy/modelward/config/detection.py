"""Detection over time: which identities are watched, and what becomes of those that look like thieves or attackers."""

from collections.abc import Mapping
from typing import Literal, Self

from modelward.config.access import By
from modelward.config.fields import Field, model_validator
from modelward.config.section import Section
from modelward.config.units import MINUTE, SECOND, Duration, UnitError

Mode = Literal["off", "observe", "act"]
Step = Literal["tag", "round", "top_class", "delay", "fallback", "block"]
NearDuplicates = Literal["restrict", "round", "allow"]

MOST_PATTERNS = 64
"""Of all models together: an identity knows by one bit each which of them fit it."""
LARGEST_BUDGET = 1_000_000_000


class IdentityDetection(Section):
    """Detection of some identities of a model. What is not set is as for all identities."""

    mode: Mode | None = None
    """As `mode` of the model. `off`: these identities are not watched."""
    strongest: Step | None = None
    """As `strongest` of the model."""
    labelled: bool | None = None
    """As `labelled` of the model."""
    budget: int | None = Field(default=None, ge=100, le=LARGEST_BUDGET)
    """As `budget` of the model."""
    near_duplicates: NearDuplicates | None = None
    """As `near_duplicates` of the model."""
    by: By = Field(default=("any",), strict=False, min_length=1)
    """How the identity must be proved for this to apply."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set - {"by"}:
            how = "Write what differs: near_duplicates: allow, or leave the identity out"
            raise UnitError("nothing is set for these identities", how)
        return self


class ModelDetection(Section):
    """Evidence per identity that it steals or attacks the model, and what such an identity gets."""

    mode: Mode = "off"
    """`observe`: evidence is gathered and told, and no answer changes. `act`: suspected identities get what their step
    says. `off`: nothing is gathered. In observe and act, operators can restrict an identity by hand."""
    strongest: Step = "block"
    """The strongest step that is taken without a person. From the mildest: `tag` (told to operators alone), `round`
    (scores of classes have one digit), `top_class` (1 for the top class, 0 for the others), `delay` (the same, later),
    `fallback` (the fallback chain answers), `block` (refused for a time)."""
    labelled: bool = False
    """true: an answer to a restricted identity says so, in the parameter and the trailer `modelward_restricted`. false:
    it looks like any other. A refusal always says that it is one."""
    budget: int | None = Field(default=None, ge=100, le=LARGEST_BUDGET)
    """Distinct rows that an identity may ask in a day (UTC). Beyond it scores are rounded, beyond 1.5 times only the
    top class is told, beyond twice the fallback answers. Absent: no budget."""
    near_duplicates: NearDuplicates = "restrict"
    """What near duplicates of earlier rows do. `restrict`: they are evidence as all else is. `round`: they lead to
    rounded scores at most. `allow`: they are no evidence, as for sensors that send nearly the same row each second."""
    delay: Duration = Field(default=2 * SECOND, ge=SECOND // 10, le=30 * SECOND)
    """Longest time that the step `delay` holds an answer. Each is held for a random time from half of it on."""
    block: Duration = Field(default=10 * MINUTE, ge=SECOND, le=24 * 60 * MINUTE)
    """How long the step `block` lasts. It doubles each time that it is taken again within a day, up to 256 times
    this."""
    identities: Mapping[str, IdentityDetection] = Field(default_factory=dict, max_length=MOST_PATTERNS)
    """What differs for some identities, by name, where * stands for any characters: "sensor-*": {near_duplicates:
    allow}. A name without * counts before patterns. Of several patterns, the one with the most other characters counts.
    """

    @property
    def ordered(self) -> list[str]:
        """The patterns of identities, in the order in which they count."""
        return sorted(self.identities, key=lambda name: ("*" in name, -len(name.replace("*", ""))))

    def of(self, name: str | None) -> Self:
        """With what differs for the identities of this pattern; the same for None."""
        if name is None:
            return self
        own = self.identities[name].model_dump(exclude={"by"}, exclude_none=True)
        return self.model_copy(update=own)

    @property
    def is_on(self) -> bool:
        """Some identity is watched."""
        return self.mode != "off" or any(each.mode not in (None, "off") for each in self.identities.values())


class Detection(Section):
    """Memory of detection over time."""

    identities: int = Field(default=2**20, ge=1024, le=2**22)
    """Identities that are remembered, of all models together; 64 bytes each. The least suspicious of the oldest give
    way."""
