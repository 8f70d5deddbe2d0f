"""Keys that the design names and this version does not implement: refused by their name, not as a typing error."""

ANY = "*"
LATER: dict[tuple[str, ...], str] = {
    ("models", ANY, "shadow"): "Leave it out",
}


def advice(path: tuple[str, ...]) -> str | None:
    """What to do instead of a key that comes later; None for any other key."""
    for pattern, instead in LATER.items():
        if len(pattern) == len(path) and all(p in (ANY, k) for p, k in zip(pattern, path, strict=True)):
            return instead
    return None
