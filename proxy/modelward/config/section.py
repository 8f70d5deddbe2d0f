"""What every section of the configuration is."""

import ast
import inspect
import os
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from typing import Any, Self, get_args

from modelward.config.fields import BaseModel, ConfigDict, ValidationInfo, field_validator, model_validator
from modelward.config.variables import expanded

# it has none here, and would look for them in what every installed package says of itself
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


class Section(BaseModel):
    """A mapping of known keys. One with nothing below it is empty, so that all its lines can be commented out."""

    # what checks a section is built when that is first used: most are used as a part of Config alone, and no worker
    # checks any
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)

    @classmethod
    @cache
    def default(cls) -> Self:
        """Every key as if it were not written; one object for all. Nothing is validated: to build what validates a
        section takes 10 ms, and memory that stays, and most sections are never written."""
        return cls.model_construct()

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_empty(cls, data: object) -> object:
        return {} if data is None else data

    @field_validator("*", mode="before")
    @classmethod
    def _with_variables(cls, value: Any, info: ValidationInfo) -> Any:
        """Of paths alone: other texts, such as constant answers, are what they are."""
        if isinstance(value, str) and "${" in value:
            annotation = cls.model_fields[info.field_name or ""].annotation
            if Path in (annotation, *get_args(annotation)) or value.startswith("unix:") or info.field_name == "jwks":
                return expanded(value)
        return value


def descriptions(section: type[BaseModel]) -> dict[str, str]:
    """What the string below a field says of it, by the field's name.

    Read from the source when it is asked for. pydantic's own way (`use_attribute_docstrings`) parses the source of
    every section in every process that starts: 40 ms.
    """
    found: dict[str, str] = {}
    for base in reversed(section.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel:
            (tree,) = ast.parse(dedent(inspect.getsource(base))).body
            assert isinstance(tree, ast.ClassDef)
            for below in pairwise(tree.body):
                match below:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                        found[name] = inspect.cleandoc(text)
    return found


def sections(below: type[Section] = Section) -> Iterator[type[Section]]:
    """Every section that there is."""
    for each in below.__subclasses__():
        yield each
        yield from sections(each)
