"""`python -m scripts.package.same ONE.whl OTHER.whl`: whether two builds gave the same bytes, or which files differ."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from scripts.package import archive

__all__ = ["differences"]


def differences(one: Path, other: Path) -> list[str]:
    """Files that differ or are in one wheel only; "the archive" where all files are the same; nothing for equals."""
    if one.read_bytes() == other.read_bytes():
        return []
    first, second = archive.read(one), archive.read(other)
    return sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name)) or [
        "the archive"
    ]


def main() -> int:
    wheels = [Path(each) for each in sys.argv[1:]]
    for wheel in wheels:
        print(f"wheel: SHA-256 {hashlib.sha256(wheel.read_bytes()).hexdigest()} {wheel.name}")
    found = differences(*wheels)
    for name in found:
        print(f"wheel: {name} differs", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
