"""The messages that the page of error messages quotes are those of the code, as far as their fixed words go."""

import re
from collections.abc import Iterator, Sequence
from functools import cache

import pytest

from scripts.docs import DOCS, ROOT

PAGE = DOCS / "how-to" / "errors.md"
VALUE = "\0"  # what the code fills in
MOST_WORDS_OF_A_VALUE = 4
TOKEN = re.compile(rf"{VALUE}|[\w./]*\w|[^\w\s]")
LITERALS = re.compile(r'(?:[rbf]*"(?:[^"\\\n]|\\.)*"\s*)+')  # those beside each other are one text
LITERAL = re.compile(r'([rbf]*)"((?:[^"\\\n]|\\.)*)"')
FORMAT = re.compile(r"%[-.*\d]*(?:zu|zd|l*[a-z])")


def quoted(page: str) -> Iterator[str]:
    """What the first cells of the page's tables quote, without the gRPC code before it."""
    for cell in re.findall(r"^\| ([^|]*`[^|]*) \|", page, re.MULTILINE):
        for text in re.findall(r"`([^`]+)`", cell):
            yield re.sub(r"^[A-Z_]{4,}: ", "", text)


def fixed_parts(text: str) -> list[str]:
    """Without what stands for a value: dots, and single capital letters. One or two words say too little."""
    return [part for part in re.split(r"'?\.\.\.'?|\b[A-Z]\b", text) if len(TOKEN.findall(part)) > 2]


def texts_of(code: str) -> Iterator[str]:
    """The string literals, with VALUE where a value goes."""
    code = re.sub(r'"""(?s:.*?)"""', "", code)
    for found in LITERALS.finditer(code):
        pieces = LITERAL.findall(found[0])
        yield "".join(FORMAT.sub(VALUE, re.sub(r"\{[^}]*\}", VALUE, s) if "f" in how else s) for how, s in pieces)


def matched(words: Sequence[str], text: Sequence[str]) -> int:
    """How many of the words, in order, the beginning of the text has as fixed words; -1 where another word comes."""
    if not words or not text:
        return 0 if len(words) <= MOST_WORDS_OF_A_VALUE else -1  # the text may go on with a value
    if text[0] == VALUE:
        most = min(MOST_WORDS_OF_A_VALUE, len(words))
        return max(matched(words[n:], text[1:]) for n in range(most + 1))
    if words[0] != text[0]:
        return -1
    after = matched(words[1:], text[1:])
    return after if after < 0 else after + 1


def is_in(part: str, texts: Sequence[Sequence[str]]) -> bool:
    """Whether one of the texts has two thirds of the words, and values in place of the others."""
    words = TOKEN.findall(part)
    return any(
        3 * matched(words[skipped:], text[start:]) >= 2 * len(words)
        for text in texts
        for start in range(len(text))
        for skipped in (0, 1)
        if words[skipped] == text[start] or text[start] == VALUE
    )


@cache
def texts_of_the_code() -> list[list[str]]:
    files = [*(ROOT / "proxy" / "modelward").rglob("*.py"), *(ROOT / "native" / "modelward_native").rglob("*.pyx")]
    return [TOKEN.findall(text) for file in files for text in texts_of(file.read_text())]


QUOTED = [text for text in quoted(PAGE.read_text()) if fixed_parts(text)]


def test_the_page_quotes_messages() -> None:
    assert len(QUOTED) > 50


@pytest.mark.parametrize("text", QUOTED)
def test_the_code_says_what_the_page_quotes(text: str) -> None:
    assert not [part for part in fixed_parts(text) if not is_in(part, texts_of_the_code())]


@pytest.mark.parametrize(
    "text",
    [
        "the fallback leads in a circle",
        "the credential is out of date; get another",
        "too many requests wait for that model; do not retry at once",
    ],
)
def test_a_message_that_the_code_does_not_say_is_found(text: str) -> None:
    assert not is_in(text, texts_of_the_code())
