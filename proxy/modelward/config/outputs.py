"""What a model's outputs are, and what their numbers must be."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from modelward.config.section import Section

MOST_OUTPUTS = 32  # modelward_native/outputs/find_outputs.h: names that are looked for in one walk over an answer

Classes = Literal["logits"] | bool


class Output(Section):
    """One output of a model."""

    classes: Classes = False
    """true: it holds the scores of the classes, as probabilities: [rows, classes], or one for each row, of class 1.
    `logits`: likewise, as any numbers of which the largest is the answer; of one for each row, above 0 is class 1."""


Outputs = Annotated[
    Mapping[Annotated[str, StringConstraints(min_length=1, max_length=256)], Output], Field(max_length=MOST_OUTPUTS)
]
