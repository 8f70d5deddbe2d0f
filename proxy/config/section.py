"""What every section of the configuration is."""

from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """A mapping of known keys. One with nothing below it is empty, so that all its lines can be commented out."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_empty(cls, data: object) -> object:
        return {} if data is None else data
