"""What may be shown of a URL: its user, path and query may be secrets, as those of a webhook are."""

from __future__ import annotations

from hashlib import sha256
from urllib.parse import urlsplit

HIDDEN = "(hidden)"
DIGITS = 8


def origin(url: str) -> str:
    """scheme://host[:port]."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return HIDDEN
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def without_query(url: str) -> str:
    """Of a URL whose path is known to the public."""
    return f"{origin(url)}{urlsplit(url).path}"


def told_apart(url: str) -> str:
    """Its origin, and some digits that change with the rest of it: two configurations that differ there show it."""
    return f"{origin(url)}/{sha256(url.encode()).hexdigest()[:DIGITS]}"


def without(url: str, words: str) -> str:
    """`words`, which another party chose, with what they repeat of the URL left out."""
    parts = urlsplit(url)
    for secret in (parts.query, parts.path, parts.netloc.rpartition("@")[0]):
        if len(secret) > 1:  # "/" alone is none
            words = words.replace(secret, HIDDEN)
    return words
