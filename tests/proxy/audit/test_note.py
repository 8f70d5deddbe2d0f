"""Signed notes, against those of the specification's own implementation, and what is refused."""

from __future__ import annotations

import pytest

from modelward.audit.note import COSIGNATURE, Checkpoint, Note, NotSigned, Signer, Verifier, signed

# https://pkg.go.dev/golang.org/x/mod/sumdb/note: the example of the package
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
EXAMPLE = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()
SIGNER = Signer("log.example", bytes(range(32)))
TEXT = "log.example\n3\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"


def test_the_note_of_the_reference_implementation_is_accepted() -> None:
    verifier = Verifier.parse(PETER)
    assert str(verifier) == PETER
    assert Note.parse(EXAMPLE).verify(verifier) == 0


def test_every_byte_of_a_note_counts() -> None:
    note = signed(TEXT, [SIGNER])
    Note.parse(note).verify(SIGNER.verifier)
    for i in range(len(note)):
        changed = note[:i] + bytes([note[i] ^ 1]) + note[i + 1 :]
        with pytest.raises(NotSigned):
            Note.parse(changed).verify(SIGNER.verifier)


def test_a_cosignature_says_when_it_was_made() -> None:
    witness = Signer("witness.example", bytes(32), COSIGNATURE)
    note = Note.parse(signed(TEXT, [SIGNER, witness], at=1_700_000_000))
    assert note.verify(Verifier.parse(str(witness.verifier))) == 1_700_000_000
    assert note.verify(SIGNER.verifier) == 0


def test_a_note_without_the_signature_that_is_asked_for_is_refused() -> None:
    other = Signer("log.example", bytes(32)).verifier
    with pytest.raises(NotSigned, match=r"signed by log\.example with the key [0-9a-f]{8}, and not with the key"):
        Note.parse(signed(TEXT, [SIGNER])).verify(other)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text only\n",
        b"text\n\n",
        b"text\n\nno dash x AAAAAAAA\n",
        "text\n\n— name AAAA\n".encode(),
        "text\n\n— name AAAAAAAAAAAA".encode(),
        "te\0xt\n\n— name AAAAAAAAAAAA\n".encode(),
        b"\xff\n\n",
        b"x" * 70_000,
    ],
)
def test_what_is_no_note_is_refused(data: bytes) -> None:
    with pytest.raises(NotSigned):
        Note.parse(data)


@pytest.mark.parametrize("key", ["", "a", "a+b", "a+00000000+AAAA", PETER.replace("c74f20a3", "c74f20a4"), PETER[:-4]])
def test_what_is_no_verifier_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="verifier key"):
        Verifier.parse(key)


def test_a_checkpoint_is_read_as_it_was_written() -> None:
    checkpoint = Checkpoint("log.example", 3, bytes(32), ("more",))
    assert Checkpoint.parse(str(checkpoint)) == checkpoint
    assert str(Checkpoint("log.example", 3, bytes(32))) == TEXT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n",
        "a\n1\n",
        "a\n-1\nAAAA\n",
        "a\n01\n" + TEXT.split("\n")[2] + "\n",
        "a\n1\nAAAA\n",
        TEXT[:-1],
        TEXT + "\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NotSigned):
        Checkpoint.parse(text)
