"""What an operator may do: the bindings that match, their roles, and the verbs of these."""

from __future__ import annotations

import grp
import pwd
import re
from collections.abc import Callable, Sequence

from msgspec import Struct

from modelward.config.access import pattern
from modelward.config.operators import LONGEST, ROLES, Binding, Operators
from modelward.operators import verbs
from modelward.operators.identity import Operator

MOST_NAMED = 3  # of those whom a denied operator may ask
UNCONFIGURED = "operators is not configured: each client that can connect may do everything"


class Decision(Struct, frozen=True):
    """roles: that allow it; where it is denied, those that would. why: for the operator, without a full stop."""

    allowed: bool
    roles: tuple[str, ...]
    why: str


class Grant(Struct, frozen=True):
    """A binding with what it is asked for at every call. number: its user or group, None where there is none."""

    binding: Binding
    name: re.Pattern[str] | None
    number: int | None
    roles: frozenset[str]
    verbs: frozenset[str]
    models: tuple[re.Pattern[str], ...]

    def is_for(self, operator: Operator) -> bool:
        binding = self.binding
        match binding.kind:
            case "user":
                return operator.proof == "socket" and self.number is not None and operator.uid == self.number
            case "group":
                return operator.proof == "socket" and self.number is not None and self.number in operator.gids
            case kind:
                assert self.name is not None
                is_of_issuer = binding.issuer is None or binding.issuer == operator.issuer
                return operator.proof == kind and is_of_issuer and self.name.fullmatch(operator.name) is not None

    def covers(self, model: str | None) -> bool:
        """model: None for the whole server."""
        if model is None:
            return "*" in self.binding.models
        return len(model) <= LONGEST and any(each.fullmatch(model) for each in self.models)


class Rights:
    """Of one configuration; without `operators` everybody may do everything. unknown: users and groups of bindings that
    this machine does not have."""

    def __init__(self, operators: Operators | None) -> None:
        self._operators = operators
        self.unknown: list[str] = []
        self._grants = [self._grant(each) for each in operators.bindings] if operators is not None else []

    @property
    def configured(self) -> bool:
        return self._operators is not None

    def grants(self, operator: Operator) -> list[Grant]:
        """Those that are for the operator, in the order of the configuration."""
        return [grant for grant in self._grants if grant.is_for(operator)]

    def binding(self, operator: Operator) -> Binding | None:
        """Of those that are for the operator one that names it exactly, else the first."""
        found = [grant.binding for grant in self.grants(operator)]
        return next((each for each in found if each.is_exact), found[0] if found else None)

    def may(self, operator: Operator, verb: str, model: str | None = None) -> Decision:
        """model: None for what concerns the whole server."""
        if self._operators is None:
            return Decision(True, (), UNCONFIGURED)
        having = [grant for grant in self.grants(operator) if verb in grant.verbs]
        for grant in having:
            if grant.covers(model):
                return self._allowed(grant, verb)
        return Decision(False, self._roles_with(verb), self._why_not(operator, verb, model, having))

    def may_for_any(self, operator: Operator, verb: str) -> Decision:
        """Whether there is a model for which the operator may."""
        having = [grant for grant in self.grants(operator) if verb in grant.verbs]
        return self._allowed(having[0], verb) if having else self.may(operator, verb)

    def models(self, operator: Operator, verb: str) -> tuple[str, ...]:
        """Patterns of those for which the operator may."""
        if self._operators is None:
            return ("*",)
        found = (each for grant in self.grants(operator) if verb in grant.verbs for each in grant.binding.models)
        return tuple(dict.fromkeys(found))

    def seen(self, operator: Operator, verb: str = "status") -> Callable[[str | None], bool]:
        """Tells of a model, or of the whole server (None), whether the operator may."""
        if self._operators is None:
            return lambda model: True
        having = [grant for grant in self.grants(operator) if verb in grant.verbs]
        return lambda model: any(grant.covers(model) for grant in having)

    def breaks_glass(self, operator: Operator, model: str | None = None) -> bool:
        """Whether the operator has a role that may act without approvals."""
        if self._operators is None:
            return True
        named = self._operators.break_glass
        return any(grant.roles.intersection(named) and grant.covers(model) for grant in self.grants(operator))

    def breaks_glass_for_any(self, operator: Operator) -> bool:
        """Whether there is a model for which the operator has one."""
        if self._operators is None:
            return True
        return any(grant.roles.intersection(self._operators.break_glass) for grant in self.grants(operator))

    def administrators(self) -> list[str]:
        """Whom to ask for a right, in words, the first few."""
        return [each.binding.words for each in self._grants if "bindings" in each.verbs][:MOST_NAMED]

    def _allowed(self, grant: Grant, verb: str) -> Decision:
        roles = tuple(role for role in grant.binding.roles if verb in self._verbs(role))
        return Decision(True, roles, f"{grant.binding.words} has {', '.join(roles)}")

    def _why_not(self, operator: Operator, verb: str, model: str | None, having: Sequence[Grant]) -> str:
        grants = self.grants(operator)
        if not grants:
            return f"no binding is for {operator.words}"
        if not having:
            roles = dict.fromkeys(role for grant in grants for role in grant.binding.roles)
            return f"{operator.words} has {', '.join(roles)}, which is not enough"
        models = dict.fromkeys(each for grant in having for each in grant.binding.models)
        what = "it concerns the whole server" if model is None else f"{model[:LONGEST]} is none of them"
        return f"{operator.words} has the right {verb} for models {', '.join([*models][:8])}, and {what}"

    def _roles_with(self, verb: str) -> tuple[str, ...]:
        names = (*ROLES, *(self._operators.roles if self._operators is not None else ()))
        return tuple(role for role in names if verb in self._verbs(role))

    def _verbs(self, role: str) -> frozenset[str]:
        own = self._operators.roles.get(role) if self._operators is not None else None
        if own is None:
            return verbs.of_role(role)
        return frozenset[str]().union(*(verbs.of_role(part) if part in ROLES else {part} for part in own))

    def _grant(self, binding: Binding) -> Grant:
        wanted = getattr(binding, binding.kind)
        number = _number(binding.kind, wanted) if binding.kind in ("user", "group") else None
        if binding.kind in ("user", "group") and number is None:
            self.unknown.append(binding.words)
        return Grant(
            binding,
            pattern(wanted) if binding.kind in ("certificate", "token") else None,
            number,
            frozenset(binding.roles),
            frozenset[str]().union(*(self._verbs(role) for role in binding.roles)),
            tuple(map(pattern, binding.models)),
        )


def _number(kind: str, name: str | int) -> int | None:
    """Looked up once: a directory service that does not answer must not hold up calls."""
    if isinstance(name, int) or name.isdecimal():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid if kind == "user" else grp.getgrnam(name).gr_gid
    except KeyError:
        return None
