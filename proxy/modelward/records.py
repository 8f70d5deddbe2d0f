"""Records: what is kept on disk, in a store or in a log and is no configuration. Frozen, and checked when it is read.

They are structs of msgspec, whose classes take a process less memory and time than pydantic's. What makes a record sees
to its values; what reads one, from a file or from another server, is told what is wrong with it and where.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import structs

T = TypeVar("T")


class Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of known fields. Each class says `frozen=True, kw_only=True` itself: the second is not inherited."""

    def left_out(self) -> tuple[str, ...]:
        """Names of the fields that are not written as they are now."""
        return ()


def read(kind: type[T], data: bytes) -> T:
    """The record in this JSON. Raises ValueError with what is wrong and where: ``... - at `$.events[0].at` ``."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def written(record: Struct, *, defaults: bool = True, indent: int = 0) -> bytes:
    """The record as JSON. defaults, indent: as `plain`, and as json.dumps has it. Raises ValueError for text that is
    none, and TypeError for values that JSON has not."""
    data = msgspec.json.encode(plain(record, defaults=defaults))
    return msgspec.json.format(data, indent=indent) if indent else data


def plain(record: Struct, *, defaults: bool = True) -> dict[str, Any]:
    """Its fields by name, those of records within it too. defaults: also fields that are as if they were not given."""
    out = record.left_out()
    values = ((name, default, getattr(record, name)) for name, default in _defaults(type(record)).items())
    return {
        name: _plain(value, defaults)
        for name, default, value in values
        if name not in out and (defaults or value != default)
    }


def _plain(value: Any, defaults: bool) -> Any:
    """What holds records holds nothing else."""
    if isinstance(value, Struct):
        return plain(value, defaults=defaults)
    if isinstance(value, tuple) and value and isinstance(value[0], Struct):
        return [plain(each, defaults=defaults) for each in value]
    if isinstance(value, Mapping) and isinstance(next(iter(value.values()), None), Struct):
        return {key: plain(each, defaults=defaults) for key, each in value.items()}
    return value


@cache
def _defaults(kind: type[Struct]) -> dict[str, Any]:
    """By the names of all fields, as they were declared; NODEFAULT for one that has none."""
    return {
        each.name: each.default if each.default_factory is msgspec.NODEFAULT else each.default_factory()
        for each in structs.fields(kind)
    }
