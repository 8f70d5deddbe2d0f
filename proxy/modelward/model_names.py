"""What a model may be called."""

# A name becomes a metric label, a log word, part of an error message, and follows requests that go to another model
# than they name: 128 bytes fit them all (modelward_native/request/model.pxd).
LONGEST_NAME = 128
# The label under which metrics count models that do not exist.
RESERVED_NAMES = frozenset({"_other"})


def fault_of_name(name: str) -> tuple[str, str] | None:
    """What is wrong with a model's name, and why: too long, reserved, or not plain printable text. None: nothing."""
    if name in RESERVED_NAMES:
        return f"the name {name} is reserved", "metrics count unknown models under it"
    if not name or not name.isprintable() or name != name.strip() or len(name.encode()) > LONGEST_NAME:
        return (
            f"{name[:LONGEST_NAME]!r} is no name for a model",
            f"names are 1 to {LONGEST_NAME} bytes of printable text without a space at either end",
        )
    return None
