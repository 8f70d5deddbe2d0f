"""Names that operators restrict and that may be slips: no credential can have them, or nothing of theirs was seen."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from modelward.access.keys import load
from modelward.config.access import pattern
from modelward.config.schema import Config
from modelward.detect.restriction import where
from modelward.problem import Problem, ProblemsFound
from modelward.suggest import suggestion


def doubt(identity: str, model: str, config: Config, seen: Iterable[str], *, counted: bool = True) -> Problem:
    """Of one of which no row was seen. seen: names of which some were. counted: rows of the model are, as it has a
    profile. Reads the file of keys."""
    what, how = "no row of it was seen since the server began", "Check how it is written: modelward identities"
    if not counted:
        what = "whether it has sent rows is not known: no version with a profile"
    access, keys = config.access, _keys(config)
    names = [*dict.fromkeys([*keys, *seen])]
    if not _is_address(identity):
        if access is None:
            what, how = "no caller has a name: credentials are not configured", "Give the address of the caller"
        elif not any(rule.identity and pattern(rule.identity).fullmatch(identity) for rule in access.rules):
            what = "no rule of access is for this identity"
        elif access.keys is not None and not access.certificates and access.jwt is None and identity not in keys:
            what = "no key has this name"
    if identity in names:
        how = "The name is one of those that are known; nothing has to be done"
    else:
        how = suggestion(identity, names) or how
    return Problem(what, where(identity, model), "it is held nevertheless", how)


def _keys(config: Config) -> list[str]:
    if config.access is None or config.access.keys is None:
        return []
    try:
        return [key.name for key in load(config.access.keys).keys]
    except ProblemsFound:
        return []


def _is_address(identity: str) -> bool:
    try:
        ipaddress.ip_address(identity)
    except ValueError:
        return False
    return True
