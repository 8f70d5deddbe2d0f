"""Roots and proofs of the Merkle tree, against the definitions of RFC 6962 written down once more."""

from __future__ import annotations

from hashlib import sha256

import pytest

from modelward.audit.merkle import (
    EMPTY,
    ProofFails,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    range_root,
)
from modelward.audit.tiles import Edge

RECORDS = [f"record {i}".encode() for i in range(600)]
HASHES = [leaf_hash(record) for record in RECORDS]


def root_of(records: list[bytes]) -> bytes:
    """MTH of section 2.1, as it stands there."""
    if not records:
        return sha256(b"").digest()
    if len(records) == 1:
        return sha256(b"\0" + records[0]).digest()
    k = 1
    while 2 * k < len(records):
        k *= 2
    return sha256(b"\1" + root_of(records[:k]) + root_of(records[k:])).digest()


def node(level: int, index: int) -> bytes:
    return root_of(RECORDS[index << level : (index + 1) << level])


ROOTS = [root_of(RECORDS[:size]) for size in range(80)]


def test_the_hashes_of_the_reference_implementation() -> None:
    # https://github.com/google/certificate-transparency: the test vectors of its Merkle tree
    given = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    leaves = [bytes.fromhex(each) for each in given]
    edge = Edge()
    for leaf in leaves:
        edge.append(leaf_hash(leaf))
    assert edge.root().hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


def test_the_root_of_nothing() -> None:
    assert range_root(0, 0, node) == EMPTY == root_of([])


def test_the_edge_has_the_root_of_every_size() -> None:
    edge = Edge()
    for size, record in enumerate(RECORDS, 1):
        edge.append(leaf_hash(record))
        assert edge.size == size
        if size < len(ROOTS) or size > len(RECORDS) - 3 or size in (255, 256, 257, 511, 512, 513):
            assert edge.root() == root_of(RECORDS[:size]) == range_root(0, size, node)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 21, 32, 33, 79])
def test_every_record_is_proven_to_be_in_the_tree_and_no_other_is(size: int) -> None:
    for index in range(size):
        proof = inclusion_proof(index, size, node)
        check_inclusion(HASHES[index], index, size, ROOTS[size], proof)
        for wrong in (
            (HASHES[index + 1], index, size, ROOTS[size], proof),
            (HASHES[index], (index + 1) % (size + 1), size, ROOTS[size], proof),
            (HASHES[index], index, size, ROOTS[size - 1], proof),
            (HASHES[index], index, size, ROOTS[size], [*proof, HASHES[0]]),
            (HASHES[index], index, size, ROOTS[size], [*proof[:-1], EMPTY]),
        ):
            with pytest.raises(ProofFails):
                check_inclusion(*wrong)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 21, 32, 33, 79])
def test_every_tree_is_proven_to_begin_with_each_smaller_one(size: int) -> None:
    for before in range(size + 1):
        proof = consistency_proof(before, size, node)
        check_consistency(before, size, ROOTS[before], ROOTS[size], proof)
        if 0 < before < size:
            for wrong in (
                (before, size, ROOTS[before - 1], ROOTS[size], proof),
                (before, size, ROOTS[before], ROOTS[size - 1], proof),
                (before, size, ROOTS[before], ROOTS[size], [*proof, HASHES[0]]),
                (before, size, ROOTS[before], ROOTS[size], proof[:-1]),
            ):
                with pytest.raises(ProofFails):
                    check_consistency(*wrong)


def test_a_tree_that_was_cut_off_is_no_continuation() -> None:
    with pytest.raises(ProofFails, match="cut off"):
        check_consistency(9, 8, ROOTS[9], ROOTS[8], [])
