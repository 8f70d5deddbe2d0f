"""What one process of a server has pickled is read by another, also where that has other classes by the same names."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import pytest
from msgspec import Struct, field

from modelward import pickled


class Part(Struct, frozen=True):
    number: int


class Told(Struct, frozen=True):
    what: str
    parts: tuple[Part, ...] = ()
    by_name: Mapping[str, Part] = field(default_factory=dict)


class ToldLater(Struct, frozen=True):
    """The fields of Told in another order, with one more."""

    parts: tuple[Part, ...] = ()
    by_name: Mapping[str, Part] = field(default_factory=dict)
    what: str = ""
    more: int = 7


TOLD = Told("it", (Part(1), Part(2)), {"m": Part(3)})


def replace_told(monkeypatch: pytest.MonkeyPatch, kind: type) -> None:
    kind.__qualname__ = kind.__name__ = "Told"
    monkeypatch.setattr(sys.modules[__name__], "Told", kind)


def test_structs_come_back_equal_with_all_that_they_hold() -> None:
    assert pickled.loads(pickled.dumps([TOLD, TOLD])) == [TOLD, TOLD]


def test_fields_are_read_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pickled.dumps(TOLD)
    replace_told(monkeypatch, ToldLater)
    read = pickled.loads(data)
    assert type(read) is ToldLater and (read.what, read.parts, read.by_name, read.more) == (
        TOLD.what,
        TOLD.parts,
        TOLD.by_name,
        7,
    )


@pytest.mark.parametrize("data", [b"", b"no pickle", pickled.dumps(TOLD)[:-9]])
def test_what_is_damaged_is_unreadable(data: bytes) -> None:
    with pytest.raises(pickled.Unreadable):
        pickled.loads(data)


def test_a_class_that_has_lost_a_field_is_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pickled.dumps(TOLD)
    replace_told(monkeypatch, type("Told", (Struct,), {"__annotations__": {"what": str}, "__module__": __name__}))
    with pytest.raises(pickled.Unreadable, match="parts"):
        pickled.loads(data)
