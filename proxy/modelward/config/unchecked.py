"""Stand-ins for the parts of pydantic that sections are made of: they hold values, write them as pydantic does, and
check nothing.

`choose` comes before the first import of a section, in a process that reads no configuration itself. A section that
pydantic has checked is pickled in one process and taken up in another, whichever of the two each has.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from inspect import get_annotations, signature
from itertools import repeat
from pathlib import PurePath
from types import NoneType, UnionType
from typing import Annotated, Any, Self, Union, get_args, get_origin, get_type_hints

chosen = False
"""Whether sections of this process are made of these."""

ConfigDict = dict
ValidationInfo = object
_MISSING: Any = object()
_FIELDS_SET = "__pydantic_fields_set__"


def choose() -> None:
    """For this process, and for good. Where sections have been imported already they stay pydantic's, which only takes
    more memory."""
    global chosen  # noqa: PLW0603 - of the process, as what was imported is
    chosen = chosen or "modelward.config.fields" not in sys.modules


class Field:
    """default_factory: called with nothing, or with the values of the fields before."""

    def __init__(
        self, default: Any = _MISSING, *, default_factory: Callable[..., Any] | None = None, **bounds: Any
    ) -> None:
        self._default = default
        self._factory = default_factory

    def value(self, known: Mapping[str, Any]) -> Any:
        """What it is where nothing is written. Raises TypeError where something must be."""
        if self._factory is not None:
            return self._factory(known) if _takes_values(self._factory) else self._factory()
        if self._default is _MISSING:
            raise TypeError("a value is missing")
        return self._default


PrivateAttr = Field


def _takes_values(factory: Callable[..., Any]) -> bool:
    return not isinstance(factory, type) and bool(signature(factory).parameters)


class _Ignored:
    """A mark of an annotation, of what checks or describes a value."""

    def __init__(self, *what: Any, **how: Any) -> None:
        pass


class AfterValidator(_Ignored):
    pass


class BeforeValidator(_Ignored):
    pass


class PlainValidator(_Ignored):
    pass


class StringConstraints(_Ignored):
    pass


class WithJsonSchema(_Ignored):
    pass


class PlainSerializer:
    """How a value is written as JSON."""

    def __init__(self, write: Callable[[Any], Any], **how: Any) -> None:
        self.write = write


def _as_it_is(*what: Any, **how: Any) -> Callable[[Any], Any]:
    return lambda function: function


field_validator = model_validator = _as_it_is


def field_serializer(*names: str, **how: Any) -> Callable[[Any], Any]:
    """Of a method that says how these fields are written as JSON."""

    def mark(method: Any) -> Any:
        method.writes = names
        return method

    return mark


class BaseModel:
    """A section: its fields are its attributes."""

    model_fields: Mapping[str, Field] = {}
    _private: Mapping[str, Field] = {}
    _writers: Mapping[str, str] = {}
    _annotations: Mapping[str, Any]

    def __init_subclass__(cls) -> None:
        public, private, writers = dict(cls.model_fields), dict(cls._private), dict(cls._writers)
        for name in get_annotations(cls):
            default = cls.__dict__.get(name, _MISSING)
            field = default if isinstance(default, Field) else Field(default)
            (private if name.startswith("_") else public)[name] = field
            if default is not _MISSING:
                delattr(cls, name)
        for method, function in cls.__dict__.items():
            writers.update(dict.fromkeys(getattr(function, "writes", ()), method))
        cls.model_fields, cls._private, cls._writers = public, private, writers

    def __init__(self, **values: Any) -> None:
        held = self.__dict__
        for name, field in self.model_fields.items():
            held[name] = values[name] if name in values else field.value(held)
        held.update({name: field.value(held) for name, field in self._private.items()})
        held[_FIELDS_SET] = {*values}

    @classmethod
    def model_construct(cls, **values: Any) -> Self:
        return cls(**values)

    @property
    def model_fields_set(self) -> set[str]:
        """Those that were written."""
        written: set[str] = self.__dict__[_FIELDS_SET]
        return written

    def model_copy(self, *, update: Mapping[str, Any] | None = None) -> Self:
        """With other values of some fields."""
        copy = object.__new__(type(self))
        changes = update or {}
        copy.__dict__.update(self.__dict__, **changes)
        copy.__dict__[_FIELDS_SET] = self.model_fields_set | changes.keys()
        return copy

    def model_dump(
        self,
        *,
        mode: str = "python",
        include: Collection[str] | None = None,
        exclude: Collection[str] = (),
        exclude_none: bool = False,
        fallback: Callable[[Any], Any] | None = None,
    ) -> dict[str, Any]:
        """Its values, and sections within as mappings; mode json: as JSON has them, and as people write them."""
        return {
            name: value
            for name, value in _dumped(self, is_json=mode == "json", none=not exclude_none, fallback=fallback)
            if name not in exclude and (include is None or name in include)
        }

    def model_dump_json(self) -> str:
        """Numbers may be written otherwise than pydantic does: 1e-05 for 0.00001."""
        return json.dumps(self.model_dump(mode="json"), separators=(",", ":"), ensure_ascii=False)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return _compared(self) == _compared(other)

    def __hash__(self) -> int:
        return hash((type(self), *_compared(self).values()))

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.model_fields:
            raise TypeError(f"{type(self).__name__} is frozen")
        self.__dict__[name] = value

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"  # a value may be a secret

    def __getstate__(self) -> dict[str, Any]:
        return {
            "__dict__": {name: self.__dict__[name] for name in self.model_fields},
            "__pydantic_extra__": None,
            _FIELDS_SET: self.model_fields_set,
            "__pydantic_private__": {name: self.__dict__[name] for name in self._private} or None,
        }

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state["__dict__"])
        self.__dict__.update(state["__pydantic_private__"] or {})
        self.__dict__[_FIELDS_SET] = state[_FIELDS_SET]


def _compared(section: BaseModel) -> dict[str, Any]:
    return {name: value for name, value in section.__dict__.items() if name != _FIELDS_SET}


def _dumped(
    section: BaseModel, *, is_json: bool, none: bool, fallback: Callable[[Any], Any] | None
) -> Iterator[tuple[str, Any]]:
    """none: with the fields that are None."""
    hints = _hints(type(section)) if is_json else {}
    for name in section.model_fields:
        value = getattr(section, name)
        if value is None and not none:
            continue
        if is_json and name in section._writers:
            yield name, getattr(section, section._writers[name])(value)
        else:
            yield name, _written(value, hints.get(name), is_json=is_json, none=none, fallback=fallback)


def _hints(section: type[BaseModel]) -> Mapping[str, Any]:
    if "_annotations" not in section.__dict__:
        section._annotations = get_type_hints(section, include_extras=True)
    return section._annotations


def _written(value: Any, hint: Any, **how: Any) -> Any:
    """hint: its annotation, where the way to write it may be in."""
    if get_origin(hint) is Annotated:
        hint, *marks = get_args(hint)
        for mark in marks if how["is_json"] else ():
            if isinstance(mark, PlainSerializer):
                return mark.write(value)
    if get_origin(hint) in (Union, UnionType) and value is not None:
        return _written(value, next(kind for kind in get_args(hint) if kind is not NoneType), **how)
    if isinstance(value, BaseModel):
        return dict(_dumped(value, **how))
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _written(getattr(value, each.name), None, **how) for each in fields(value)}
    kinds = get_args(hint)
    if isinstance(value, Mapping):
        kind = kinds[1] if len(kinds) == 2 else None
        return {str(key) if how["is_json"] else key: _written(each, kind, **how) for key, each in value.items()}
    if isinstance(value, tuple | list | set | frozenset):
        each_of = repeat(kinds[0] if kinds else None) if len(kinds) != len(value) or ... in kinds else kinds
        items = [_written(each, kind, **how) for each, kind in zip(value, each_of, strict=False)]
        return items if how["is_json"] else type(value)(items)
    return _as_json(value, how["fallback"]) if how["is_json"] else value


def _as_json(value: Any, fallback: Callable[[Any], Any] | None) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if fallback is None:
        raise TypeError(f"a {type(value).__name__} cannot be written as JSON")
    return fallback(value)
