"""Whose signature on a configuration counts: who has the verb `approve`, for the whole server, by a binding."""

from __future__ import annotations

import contextlib
import pwd
from collections.abc import Mapping

from modelward.config.access import pattern
from modelward.config.approvals import Approvals
from modelward.config.operators import Binding
from modelward.config.schema import Config
from modelward.operators.verbs import of_role


def bindings(config: Config) -> list[Binding]:
    """With the verb `approve`."""
    if config.operators is None:
        return []
    own = config.operators.roles

    def verbs(role: str) -> set[str]:
        parts = own.get(role)
        return {*of_role(role)} if parts is None else {verb for part in parts for verb in (part, *of_role(part))}

    return [each for each in config.operators.bindings if any("approve" in verbs(role) for role in each.roles)]


def keys(config: Config) -> Mapping[str, str]:
    """Of approvals.keys those whose owner may approve a configuration. A signature does not tell of which group its
    signer is: where a group may, each key counts."""
    approvals = config.approvals
    if approvals is None or not approvals.keys:
        return {}
    able = [each for each in bindings(config) if "*" in each.models]
    return {name: key for name, key in approvals.keys.items() if any(_is_for(each, name, approvals) for each in able)}


def of_groups(config: Config) -> list[str]:
    """Names of `keys` that count by the binding of a group alone."""
    approvals = config.approvals
    assert approvals is not None
    named = [each for each in bindings(config) if "*" in each.models and each.kind != "group"]
    return [name for name in keys(config) if not any(_is_for(each, name, approvals) for each in named)]


def _is_for(binding: Binding, name: str, approvals: Approvals) -> bool:
    """Whether a binding may be for the operator with this name, or for another name of the same person."""
    if binding.kind == "group":
        return True
    person = approvals.person(name)
    names = {name, person, *approvals.people.get(person, ())}
    wanted = str(getattr(binding, binding.kind))
    if binding.kind == "user" and wanted.isdecimal():
        with contextlib.suppress(KeyError, OverflowError):  # another machine's user: known by the number alone
            names |= {wanted} if pwd.getpwuid(int(wanted)).pw_name in names else set()
    return any(pattern(wanted).fullmatch(each) for each in names)
