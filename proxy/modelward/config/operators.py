"""Who may operate the server: what proves an operator's name, and which roles that name has."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self, get_args

from modelward.config.access import Jwt, listed
from modelward.config.address import OFF, Address
from modelward.config.fields import BeforeValidator, Field, model_validator
from modelward.config.section import Section
from modelward.config.units import UnitError
from modelward.suggest import suggestion

Role = Literal["viewer", "operator", "deployer", "approver", "auditor", "administrator"]
Verb = Literal[
    "status", "report", "proposals", "reload", "restart", "drain", "pardon", "accept", "override", "breaker",
    "restrict", "promote", "rollback", "force", "approve", "reject", "review", "audit", "samples", "bindings",
]  # fmt: skip
Kind = Literal["certificate", "token", "user", "group"]

ROLES: tuple[Role, ...] = get_args(Role)
VERBS: tuple[Verb, ...] = get_args(Verb)
KINDS: tuple[Kind, ...] = get_args(Kind)
LONGEST = 512  # characters of a name or pattern
UNMAPPED = 65_534
"""The kernel's number for every user and group that it cannot name here (/proc/sys/kernel/overflowuid)."""

Name = Annotated[str, Field(min_length=1, max_length=LONGEST)]
Number = Annotated[int, Field(ge=0, lt=2**32 - 1)]
Names = Annotated[tuple[Name, ...], BeforeValidator(listed)]
RoleName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]


class Binding(Section):
    """Some operators, and their roles. All bindings that match an operator add up."""

    certificate: Name | None = None
    """Name in a client certificate: its one URI, otherwise its first DNS name, otherwise its first e-mail address. *
    stands for any characters: spiffe://prod/ops/*. Needs admin_tls.client_ca."""
    token: Name | None = None
    """Name in a token of operators.tokens, where * stands for any characters: *@example.com."""
    issuer: str | None = Field(default=None, min_length=1)
    """With token: the issuer of the token. May be left out where operators.tokens has one issuer."""
    user: Name | Number | None = None
    """User of the process that connects to the Unix socket: a name or a user id."""
    group: Name | Number | None = None
    """A group of the process that connects to the Unix socket: a name or a group id."""
    roles: Names = Field(strict=False, min_length=1, max_length=64)
    """Roles, and names of operators.roles."""
    models: Names = Field(default=("*",), strict=False, min_length=1, max_length=64)
    """Models that the roles are for, where * stands for any characters. What concerns the whole server (reload,
    restart, drain) needs a binding with `*`."""

    @property
    def kind(self) -> Kind:
        """Which of the four it is."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def is_exact(self) -> bool:
        """Whether it is for one operator: neither a pattern nor a group."""
        return self.group is None and "*" not in str(getattr(self, self.kind))

    @property
    def words(self) -> str:
        """`certificate spiffe://prod/ops/*`."""
        of = f" of {self.issuer}" if self.issuer else ""
        return f"{self.kind} {getattr(self, self.kind)}{of}"

    @model_validator(mode="after")
    def _is_for_one_kind(self) -> Self:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            what = f"a binding is for one of {', '.join(KINDS)}, and this one has {' and '.join(given) or 'none'}"
            raise UnitError(what, "Write one of them; write a second binding for another kind")
        if self.issuer is not None and self.token is None:
            raise UnitError("issuer is set and token is not", "Set token, or leave issuer out")
        return self


class Operators(Section):
    """Once it is there, operators may do only what bindings allow. Absent: each client that can connect to listen.admin
    may do everything."""

    tokens: tuple[Jwt, ...] = Field(default=(), strict=False, max_length=16)
    """Issuers whose tokens prove an operator's name. Their audience must not be that of the models' clients."""
    common_name: bool = False
    """Whether a certificate without subjectAltName is known by its common name. Only for authorities that check common
    names."""
    bindings: tuple[Binding, ...] = Field(default=(), strict=False, max_length=1024)
    """Who has which roles."""
    roles: Mapping[RoleName, Annotated[tuple[str, ...], BeforeValidator(listed), Field(strict=False, min_length=1)]] = (
        Field(default_factory=dict, max_length=64)
    )
    """More roles by name: each is a list of roles, verbs, or both. `modelward can-i --list` prints the verbs."""
    break_glass: Annotated[tuple[str, ...], BeforeValidator(listed)] = Field(default=(), strict=False, max_length=64)
    """Roles that may act without the approvals that are asked for, with --break-glass and a reason."""

    @property
    def words(self) -> str:
        roles = dict.fromkeys(role for each in self.bindings for role in each.roles)
        count = f"{len(self.bindings)} binding{'' if len(self.bindings) == 1 else 's'}"
        glass = f"; break glass {', '.join(self.break_glass)}" if self.break_glass else ""
        return f"{count}, roles {', '.join(roles) or 'none'}{glass}"

    @property
    def role_names(self) -> tuple[str, ...]:
        return (*ROLES, *self.roles)

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        for name, parts in self.roles.items():
            if name in (*ROLES, *VERBS):
                raise UnitError(f"roles.{name}: the name is taken", "Choose another name")
            for part in parts:
                if part not in (*ROLES, *VERBS):
                    how = (
                        suggestion(part, (*ROLES, *VERBS))
                        or f"Roles are {', '.join(ROLES)}; `modelward can-i --list` prints the verbs"
                    )
                    raise UnitError(f"roles.{name}: {part!r} is no role and no verb", how)
        for number, binding in enumerate(self.bindings):
            for role in binding.roles:
                self._check_role(f"bindings[{number}].roles", role)
        for role in self.break_glass:
            self._check_role("break_glass", role)
        return self

    def _check_role(self, where: str, role: str) -> None:
        if role in self.role_names:
            return
        how = suggestion(role, self.role_names) or f"Roles are {', '.join(self.role_names)}"
        if role in VERBS:
            how = f"That is a verb. Write a role of your own, roles: {{NAME: [{role}]}}, and its name here"
        raise UnitError(f"{where}: {role!r} is no role", how)

    @model_validator(mode="after")
    def _issuers_are_clear(self) -> Self:
        issuers = [each.issuer for each in self.tokens]
        for issuer in issuers:
            if issuers.count(issuer) > 1:
                raise UnitError(f"tokens: {issuer} is there more than once", "Give its audiences in one entry")
        for number, binding in enumerate(self.bindings):
            where = f"bindings[{number}]"
            if binding.token is not None and not issuers:
                raise UnitError(f"{where} is for a token and no token is accepted", "Set operators.tokens")
            if binding.issuer is not None and binding.issuer not in issuers:
                how = suggestion(binding.issuer, issuers) or f"Issuers are {', '.join(issuers)}"
                raise UnitError(f"{where}: issuer {binding.issuer} is none of operators.tokens", how)
            if binding.token is not None and binding.issuer is None and len(issuers) > 1:
                what = f"{where} is for a token of any issuer, and two of them may give the same name to two people"
                raise UnitError(what, f"Set issuer, one of {', '.join(issuers)}")
        return self


def check_reach(operators: Operators, admin: Address | None, *, certificates: bool) -> None:
    """Whether every binding can match a client of listen.admin. certificates: they are asked for. Raises UnitError."""
    if admin is None:
        raise UnitError(f"operators is set and listen.admin is {OFF}", "Set listen.admin, or leave operators out")
    for number, binding in enumerate(operators.bindings):
        where = f"operators.bindings[{number}]"
        if binding.certificate is not None and not certificates:
            others = [n for n, each in enumerate(operators.bindings) if n != number and each.certificate is not None]
            too = f" (so {'are' if len(others) > 1 else 'is'} {', '.join(f'[{n}]' for n in others)})" if others else ""
            what = f"{where} is for a certificate{too} and no client certificate is ever asked for"
            raise UnitError(what, "Set admin_tls: {certificate, key, client_ca}")
        if binding.kind in ("user", "group") and not admin.is_unix:
            what = f"{where} is for a {binding.kind} and listen.admin is {admin}, where no client has one"
            raise UnitError(what, "Set listen.admin: unix:/run/modelward/admin.sock")
        if getattr(binding, binding.kind) in (UNMAPPED, str(UNMAPPED)):
            what = f"{where}: {UNMAPPED} stands for every {binding.kind} that the kernel cannot name here"
            raise UnitError(what, f"Write the {binding.kind} that is meant")
