"""How requests for a model go to its upstreams, and what is known of a model that runs there."""

from typing import Annotated, Self

from modelward.config.fields import Field, model_validator
from modelward.config.section import Section
from modelward.config.tls import UpstreamTls
from modelward.config.units import UnitError
from modelward.tensors import Datatype


def check_tls_has_upstreams(upstreams: tuple[str, ...], tls: UpstreamTls | None) -> None:
    if tls is not None and not upstreams:
        raise UnitError("upstream_tls is set and there are no upstreams beside it", "Set upstreams, or leave it out")


class Hedging(Section):
    """Requests that are sent to a second upstream because the first one is slow."""

    budget: float = Field(default=0.05, gt=0, le=0.5)
    """Largest share of requests that may be sent to a second upstream."""


class Tensor(Section):
    name: str = Field(min_length=1, max_length=256)
    """Name of the tensor in the model."""
    datatype: Datatype
    """Datatype of its elements, as the protocol names it."""
    shape: Annotated[tuple[Annotated[int, Field(ge=-1)], ...], Field(strict=False, max_length=16)]
    """Dimensions, rows first. -1 for a dimension that varies."""


Tensors = Annotated[tuple[Tensor, ...], Field(strict=False, min_length=1, max_length=256)]


class Signature(Section):
    """Inputs and outputs of a model."""

    inputs: Tensors
    """Inputs that a request must have."""
    outputs: Tensors
    """Outputs that a response may have."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        for kind, tensors in (("inputs", self.inputs), ("outputs", self.outputs)):
            names = [tensor.name for tensor in tensors]
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise UnitError(f"two {kind} are called {twice!r}", "Rename or remove one of them")
        return self


class Retries(Section):
    """A request that an upstream has certainly not begun is always sent to another one. So is one without a sequence_id
    that an upstream answers with UNAVAILABLE."""

    unanswered: bool = False
    """true: also retries a request that the upstream may have begun, when the upstream dies or falls silent before it
    answers. Only for models whose runs change nothing. Never with a sequence_id."""
