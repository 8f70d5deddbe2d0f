"""What processes of one server tell each other, pickled: a program that was replaced on disk while the server runs may
have other classes by the time that a process of it is started.

So a struct is pickled by the names of its fields. One that has got a field with a default is still read.
"""

from __future__ import annotations

import io
import pickle
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import asdict

from modelward.problem import Problem

S = TypeVar("S", bound=Struct)

REPLACED = Problem(
    "the program was replaced by another release while the server runs, and its new processes do not fit the old ones",
    "the server",
    how="Restart the whole server. Until then the workers that run go on",
)


class Unreadable(Exception):
    """Pickled by another release, or damaged."""


def dumps(value: object) -> bytes:
    """For `loads` in a process of the same server."""
    out = io.BytesIO()
    _Pickler(out).dump(value)
    return out.getvalue()


def loads(data: bytes) -> Any:
    """Raises Unreadable."""
    try:
        return pickle.loads(data)
    except Exception as error:  # whatever the classes of another release make of it
        raise Unreadable(f"{type(error).__name__}: {error}") from error


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: object) -> Any:
        return (_made, (type(value), asdict(value))) if isinstance(value, Struct) else NotImplemented


def _made(kind: type[S], fields: dict[str, Any]) -> S:
    return kind(**fields)
