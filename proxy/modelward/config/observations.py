"""The rings through which capture and drift see a sample of the requests."""

from modelward.config.fields import Field
from modelward.config.section import Section
from modelward.config.units import KiB, MiB, Size

SMALLEST_RING, LARGEST_RING = 64 * KiB, 32 * MiB


class Observations(Section):
    """Room for requests that wait to be looked at, where any model has `capture` or `drift`."""

    memory: Size = Field(default=4 * MiB, ge=SMALLEST_RING, le=LARGEST_RING)
    """Bytes of each worker. What has no room is not looked at, and counted."""
    message: Size = Field(default=64 * KiB, ge=KiB, le=MiB)
    """Most bytes of a request's inputs, and of its answer, that are kept. Larger ones are left out, and counted. An
    eighth of `memory` is the most that counts."""
