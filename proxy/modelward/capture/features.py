"""The names in `capture.features`: inputs, and elements of inputs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from math import prod

ELEMENT = re.compile(r"(.+)\[(\d+)\]", re.DOTALL)
ANY = 1 << 31  # elements of a row whose length varies


def elements(shape: Iterable[int], batched: bool) -> int:
    """Elements that one row of a tensor may have. batched: the first dimension is the row."""
    row = [*shape][1 if batched else 0 :]
    return prod(row) if -1 not in row else ANY


def unknown(names: Iterable[str], sizes: Mapping[str, int]) -> list[str]:
    """Of these, those that fit no input. sizes: elements of a row, by input."""

    def fits(name: str) -> bool:
        found = ELEMENT.fullmatch(name)
        return name in sizes or (found is not None and int(found[2]) < sizes.get(found[1], 0))

    return [name for name in names if not fits(name)]
