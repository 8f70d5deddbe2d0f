"""Which files lie in a version's folder, against those that were signed (OMS 1.0, sections 6.1 and 8.4)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from modelward.integrity.manifest import MOST_FILES, Manifest
from modelward.problem import Problem, ProblemsFound

DEEPEST = 32
FEW = 3  # names that are told


def difference(folder: Path, manifest: Manifest, signature: str) -> str:
    """What lies there and was not signed, or the reverse, in words; "" for nothing. Raises OSError.

    signature: name of the signature's own file. Nothing is opened: what is loaded is compared where it is read.
    """
    missing = set(manifest.files)
    extra: list[str] = []
    links: list[str] = []
    for count, (name, entry) in enumerate(_entries(folder, manifest, signature)):
        if count >= MOST_FILES:
            return f"it holds more than {MOST_FILES} files"
        if entry.is_symlink() and not manifest.follows_links:
            links.append(name)
        elif name in missing:
            missing.discard(name)
        elif not (manifest.in_parts and entry.stat().st_size == 0):  # which no part stands for
            extra.append(name)
    told = (("links", links), ("not signed", extra), ("missing", [*missing]))
    return "; ".join(f"{what}: {_few(names)}" for what, names in told if names)


def names_in(folder: Path, signature: str) -> list[str]:
    """Of all files that a signature of the folder covers. Raises ProblemsFound for links, and for too many."""
    nothing = Manifest({}, "sha256", "")
    found: list[str] = []
    for name, entry in _entries(folder, nothing, signature):
        if entry.is_symlink():
            why, how = "a signature covers files alone", "Put a copy of the file there"
            raise ProblemsFound([Problem("a link cannot be signed", str(folder / name), why, how)])
        found.append(name)
        if len(found) > MOST_FILES:
            raise ProblemsFound([Problem(f"the folder holds more than {MOST_FILES} files", str(folder))])
    return found


def _entries(folder: Path, manifest: Manifest, signature: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Everything below that is no folder, but for what the signer ignored. Links to folders are not followed."""
    left = [("", folder, 0)]
    while left:
        prefix, path, depth = left.pop()
        with os.scandir(path) as entries:
            for entry in entries:
                name = prefix + entry.name
                if name == signature or manifest.ignores(name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if depth == DEEPEST:
                        yield name, entry  # which was not signed, whatever it holds
                    else:
                        left.append((f"{name}/", Path(entry.path), depth + 1))
                elif not (manifest.follows_links and entry.is_symlink() and entry.is_dir()):
                    yield name, entry


def _few(names: list[str]) -> str:
    shown = ", ".join(sorted(names)[:FEW])
    return f"{shown} and {len(names) - FEW} more" if len(names) > FEW else shown
