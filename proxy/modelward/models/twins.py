"""Versions with the same files: an old one that is put back as a new one, or another model's."""

from __future__ import annotations

from collections.abc import Mapping

MOST_TOLD = 5

Version = tuple[str, str]  # model, version


def twins(which: Version, digests: Mapping[Version, str]) -> str:
    """The older versions of the model, and those of other models, that have the files of `which`, in words; "" where
    there are none. digests: of versions; empty where it is not known."""
    model, number = which
    digest = digests.get(which)
    found = [
        f"{other} version {version}"
        for (other, version), known in digests.items()
        if digest and known == digest and (other != model or _is_older(version, number))
    ]
    more = f" and {len(found) - MOST_TOLD} more" if len(found) > MOST_TOLD else ""
    return f"{', '.join(found[:MOST_TOLD])}{more}"


def _is_older(version: str, than: str) -> bool:
    return version.isdecimal() and than.isdecimal() and int(version) < int(than)
