"""Epochs: numbers by which the servers of a fleet order what was decided. Serial numbers (RFC 1982), so that every one
has a next one: after the largest comes the first, and of two the later one is less than half of all numbers ahead.

No number that somebody writes into the store can be the last one, then. 0: no other server knows of it.
"""

from __future__ import annotations

LARGEST = 10**15 - 1
"""Of 15 digits, which every store keeps exactly."""
NEAR = 1 << 32
"""No fleet decides as often as that between two words of a server."""


def is_epoch(number: int) -> bool:
    return 0 < number <= LARGEST


def following(epoch: int) -> int:
    return epoch + 1 if 0 <= epoch < LARGEST else 1


def ahead(one: int, other: int) -> int:
    """How far one is later than the other; 0 where it is not. What is no epoch is earlier than every one."""
    if not is_epoch(one):
        return 0
    if not is_epoch(other):
        return one
    distance = (one - other) % LARGEST
    return distance if distance <= LARGEST // 2 else 0


def latest(*epochs: int) -> int:
    """0 where none of them is one."""
    found = 0
    for each in epochs:
        if ahead(each, found):
            found = each
    return found


def after(seen: int, epoch: int) -> int:
    """The epoch; where that of the document, which was seen, is not much later, the next one after it."""
    next_one = following(seen)
    if not is_epoch(epoch):
        return next_one
    return next_one if 0 < ahead(next_one, epoch) <= NEAR else epoch
