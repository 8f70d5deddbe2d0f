"""The Merkle tree of RFC 6962 (section 2.1): hashes, roots, and proofs of inclusion and consistency.

A node is named by its level and its index there: it stands for the 2**level leaves from index * 2**level on. A proof is
a list of hashes of 32 bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

Node = Callable[[int, int], bytes]
"""The hash of a complete node, by level and index."""

EMPTY = sha256().digest()


class ProofFails(Exception):
    """What a proof was to show does not follow from it."""


def leaf_hash(record: bytes) -> bytes:
    return sha256(b"\0" + record).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


def range_root(first: int, end: int, node: Node) -> bytes:
    """The root of the tree over the leaves from `first` to before `end`.

    `first` is a multiple of the smallest power of two that is not below end - first: so it is in every proof.
    """
    if first == end:
        return EMPTY
    root = b""
    # complete subtrees from the right, the smallest first
    while end > first:
        size = end - first
        level = (size & -size).bit_length() - 1
        end -= 1 << level
        subtree = node(level, end >> level)
        root = node_hash(subtree, root) if root else subtree
    return root


def inclusion_proof(index: int, size: int, node: Node) -> list[bytes]:
    """That the leaf `index` is in the tree of `size` leaves."""
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    proof: list[bytes] = []
    first, end = 0, size
    while end - first > 1:
        middle = first + _split(end - first)
        if index < middle:
            proof.append(range_root(middle, end, node))
            end = middle
        else:
            proof.append(range_root(first, middle, node))
            first = middle
    return proof[::-1]


def consistency_proof(before: int, size: int, node: Node) -> list[bytes]:
    """That the tree of `size` leaves begins with the leaves of the tree of `before`."""
    if not 0 <= before <= size:
        raise ValueError(f"a tree of {before} is no beginning of a tree of {size}")
    proof: list[bytes] = []
    first, end, whole = 0, size, True
    while before > 0 and before != end:
        middle = first + _split(end - first)
        if before <= middle:
            proof.append(range_root(middle, end, node))
            end = middle
        else:
            proof.append(range_root(first, middle, node))
            first, whole = middle, False
    if not whole:
        proof.append(range_root(first, end, node))
    return proof[::-1]


def check_inclusion(record_hash: bytes, index: int, size: int, root: bytes, proof: Sequence[bytes]) -> None:
    """Raises ProofFails."""
    if not 0 <= index < size:
        raise ProofFails(f"there is no leaf {index} in a tree of {size}")
    at, last, found = index, size - 1, record_hash
    for each in proof:
        if last == 0:
            raise ProofFails("the proof is too long")
        if at & 1 or at == last:
            found = node_hash(each, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, each)
        at, last = at >> 1, last >> 1
    if last != 0 or found != root:
        raise ProofFails("the record is not in the tree at this place")


def check_consistency(before: int, size: int, root_before: bytes, root: bytes, proof: Sequence[bytes]) -> None:
    """Raises ProofFails."""
    if before > size:
        raise ProofFails(f"the tree has {size} leaves and had {before}: it was cut off")
    if before in (0, size):
        if proof or (before and root_before != root) or (not before and root_before != EMPTY):
            raise ProofFails("the two trees of this size differ")
        return
    hashes = list(proof)
    if before & (before - 1) == 0:
        hashes.insert(0, root_before)
    at, last = before - 1, size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    if not hashes:
        raise ProofFails("the proof is too short")
    old = new = hashes[0]
    for each in hashes[1:]:
        if last == 0:
            raise ProofFails("the proof is too long")
        if at & 1 or at == last:
            old, new = node_hash(each, old), node_hash(each, new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, each)
        at, last = at >> 1, last >> 1
    if last != 0 or old != root_before or new != root:
        raise ProofFails("the tree does not begin with what it held before")


def _split(size: int) -> int:
    """The largest power of two below `size`, which is at least 2."""
    return 1 << (size - 1).bit_length() - 1
