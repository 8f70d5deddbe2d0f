"""The table of checked credentials."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward_native.testing.tokens import Tokens
from tests.oracle.gcra import siphash_words

KEY = bytes(range(16))
NEVER = 1 << 62


def test_the_twin_is_siphash_with_128_bits_as_published() -> None:
    words = siphash_words(KEY, b"", 2, 4, wide=True)
    assert struct.pack("<2Q", *words).hex() == "a3817f04ba25a8e66df67214c7550293"


@given(st.integers(0, 2**64 - 1), st.binary(max_size=300))
def test_a_credential_is_hashed_as_by_the_twin(kind: int, credential: bytes) -> None:
    words = siphash_words(KEY, struct.pack("<Q", kind) + credential, 2, 4, wide=True)
    assert Tokens(1, KEY).digest(kind, credential) == struct.pack("<2Q", *words)


def test_what_is_remembered_is_found_until_it_expires() -> None:
    tokens = Tokens(64, KEY)
    tokens.remember(b"a", 7, expires_ns=100, now_ns=0)
    assert tokens.owner(b"a", 99) == 7
    assert tokens.owner(b"a", 100) is None
    assert tokens.owner(b"b", 0) is None
    assert tokens.count(0) == 1
    assert tokens.count(100) == 0
    tokens.remember(b"a", 8, expires_ns=NEVER, now_ns=100)
    assert tokens.owner(b"a", 10**15) == 8
    assert tokens.count(0) == 1, "in its old place"
    tokens.clear()
    assert tokens.owner(b"a", 0) is None


def test_a_million_tokens_used_once_push_out_none_that_is_in_use() -> None:
    tokens = Tokens(4096, KEY)
    honest = [b"honest %d" % i for i in range(256)]
    for i, token in enumerate(honest):
        tokens.remember(token, i, NEVER, 0)
        assert tokens.owner(token, 0) == i
    for n in range(1_000_000):
        tokens.remember(b"%d" % n, 999, NEVER, 0)
        if n % 1000 == 0:
            assert [tokens.owner(token, 0) for token in honest] == list(range(256))
    assert tokens.count(0) <= 4096


def test_expired_tokens_give_way_first() -> None:
    tokens = Tokens(4, KEY)
    for i in range(3):
        tokens.remember(b"good %d" % i, i, NEVER, 0)
    tokens.remember(b"old", 9, expires_ns=10, now_ns=0)
    assert tokens.owner(b"old", 5) == 9
    tokens.remember(b"new", 5, NEVER, now_ns=10)
    assert [tokens.owner(b"good %d" % i, 10) for i in range(3)] == [0, 1, 2]
    assert tokens.owner(b"new", 10) == 5


@pytest.mark.parametrize(("size", "key"), [(0, KEY), (2**24 + 1, KEY), (1, b"short")])
def test_what_cannot_be_a_table_is_told(size: int, key: bytes) -> None:
    with pytest.raises(ValueError, match=r"table has room|16 bytes"):
        Tokens(size, key)
