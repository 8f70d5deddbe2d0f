"""Text that came from elsewhere, made harmless for a terminal."""


def plain(text: object) -> str:
    """`text` with everything unprintable but line ends written as an escape."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in str(text))
