"""Settings that are files: a relative one is relative to the folder of the file in which it is written."""

from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from modelward.config.fields import BaseModel
from modelward.config.variables import begins_with_variable


class FileKind(Enum):
    """What a field of the schema is marked with where its annotation, Path or not, does not tell."""

    OR_URL = 1
    OF_VERSION = 2  # relative to the folder of the model's version, not to where it is written


def anchor(
    value: object, kind: Any, folder: Path, marks: Sequence[object] = (), *, of_versions: bool = False
) -> object:
    """The value with its relative files made relative to `folder`; mappings and lists are changed in place.

    value: as it is written, before it is validated. kind, marks: its annotation in the schema, and what that is marked
    with. of_versions: the files of versions too, for a model that has no such folder.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return anchor(value, arguments[0], folder, arguments[1:], of_versions=of_versions)
    if origin in (Union, UnionType):
        for each in arguments:
            value = anchor(value, each, folder, marks, of_versions=of_versions)
    elif isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, BaseModel):
        for key, field in kind.model_fields.items():
            if key in value:
                value[key] = anchor(value[key], field.annotation, folder, field.metadata, of_versions=of_versions)
    elif origin is tuple and isinstance(value, dict):  # one mapping stands for a list of one
        anchor(value, arguments[0], folder, of_versions=of_versions)
    elif origin is tuple and isinstance(value, list):
        value[:] = [anchor(each, arguments[0], folder, of_versions=of_versions) for each in value]
    elif origin is Mapping and isinstance(value, dict):
        value.update({key: anchor(each, arguments[1], folder, of_versions=of_versions) for key, each in value.items()})
    elif isinstance(value, str) and "://" not in value and (kind is Path or FileKind.OR_URL in marks):
        stays = begins_with_variable(value) or (FileKind.OF_VERSION in marks and not of_versions)
        return value if stays else str(folder / value)
    return value
