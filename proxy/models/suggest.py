"""Near names: what somebody who mistyped a name probably meant."""

from collections.abc import Iterable
from difflib import get_close_matches

# Names come from strangers too (an unknown model in a request), and difflib's cost grows with the product of the
# lengths: these bound one suggestion to about 0.3 ms however the name was made.
LONGEST = 64
MOST_CANDIDATES = 64
LENGTH_DIFFERENCE = 8


def near(name: str, candidates: Iterable[str], most: int = 3) -> list[str]:
    """At most `most` of `candidates` that resemble `name`, the nearest first; none for a name of over 64 characters."""
    if len(name) > LONGEST:
        return []
    folded: dict[str, str] = {}
    for candidate in candidates:
        if abs(len(candidate) - len(name)) <= LENGTH_DIFFERENCE:
            folded.setdefault(candidate.lower(), candidate)
        if len(folded) == MOST_CANDIDATES:
            break
    return [folded[match] for match in get_close_matches(name.lower(), folded, n=most, cutoff=0.6)]


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """'did you mean a or b?', or an empty string where nothing is near."""
    names = near(name, candidates)
    return f"did you mean {' or '.join(names)}?" if names else ""
