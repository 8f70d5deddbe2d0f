"""The age format, read here and by the library that wrote it."""

import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.repository.files import SEALED as SEALED_LINE
from modelward.sealing import age
from modelward.sealing.age import CHUNK, decrypt, secret_of
from modelward.sealing.header import Damaged, NoMatch, read_header, recipients_of
from tests.proxy.sealing.support import new_key, sealed

KEY, RECIPIENT = new_key()
OTHER, OTHERS_RECIPIENT = new_key()
SECRET = secret_of(KEY)
SEALED = sealed(b"weights" * 20_000, OTHERS_RECIPIENT, RECIPIENT)


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK])
def test_what_the_library_seals_is_opened(size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)

    assert decrypt(sealed(data[:size], OTHERS_RECIPIENT, RECIPIENT), SECRET) == data[:size]


def test_a_secret_key_is_that_of_its_recipient() -> None:
    public = secret_of(KEY).public_key().public_bytes_raw()

    assert pyrage.decrypt(SEALED, [pyrage.x25519.Identity.from_str(KEY)]) == decrypt(SEALED, SECRET)
    assert public != secret_of(OTHER).public_key().public_bytes_raw()


def test_a_key_that_is_no_recipient_opens_nothing() -> None:
    with pytest.raises(NoMatch):
        decrypt(SEALED, secret_of(new_key()[0]))


@pytest.mark.parametrize("left", [1, 16, 17, CHUNK, CHUNK + 16])
def test_a_file_that_lacks_its_end_is_not_opened(left: int) -> None:
    with pytest.raises(Damaged):
        decrypt(SEALED[:-left], SECRET)


def test_a_file_cut_between_two_chunks_is_not_opened() -> None:
    header = read_header(SEALED).size + age.NONCE

    with pytest.raises(Damaged):
        decrypt(SEALED[: header + CHUNK + age.TAG], SECRET)


@given(st.integers(0, len(SEALED) - 300), st.integers(1, 255))
def test_no_change_of_a_byte_gives_anything(at: int, by: int) -> None:
    changed = bytearray(SEALED)
    changed[at] ^= by

    with pytest.raises((Damaged, NoMatch)):
        decrypt(bytes(changed), SECRET)


@given(st.binary(max_size=400))
def test_a_header_of_anything_is_refused(noise: bytes) -> None:
    with pytest.raises((Damaged, NoMatch)):
        decrypt(SEALED_LINE + noise, SECRET)


@pytest.mark.parametrize(
    "header",
    [
        "-> X25519\n\n--- AA\n",
        "->\nAA\n--- AA\n",
        "-> X25519 A A\nAA\n--- AA\n",
        "-> X25519 AB\nAA\n--- AA\n",  # not canonical
        "-> X25519 " + "A" * 43 + "\n" + "A" * 64 + "\n--- AA\n",  # the last line of its body is missing
        "-> X25519 " + "A" * 43 + "\n" + "A" * 43 + "\n--- AA\n",  # a share that gives nothing secret
        "-> X25519 " + "A" * 43 + "\n" + "A" * 65 + "\n--- AA\n",
        "-> Ü A\nAA\n--- AA\n",
    ],
)
def test_a_malformed_header_is_refused(header: str) -> None:
    with pytest.raises((Damaged, NoMatch)):
        decrypt(SEALED_LINE + header.encode() + bytes(48), SECRET)


def test_recipients_are_told_as_far_as_the_format_tells() -> None:
    assert recipients_of(SEALED) == ["X25519", "X25519"]
