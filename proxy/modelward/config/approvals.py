"""Whose word is not enough alone: how many others must approve what an operator asks for."""

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from modelward.config.fields import BeforeValidator, Field, model_validator
from modelward.config.section import Section
from modelward.config.units import MINUTE, Duration, UnitError

MOST_APPROVERS = 8
MOST_PEOPLE = 256
_PREFIX = bytes.fromhex("302a300506032b6570032100")
"""Of an Ed25519 key in DER, as RFC 8410 has it; its 32 bytes follow."""
HOW_KEY = "Write the line between BEGIN and END of: openssl pkey -in KEY.pem -pubout"

ApprovedVerb = Literal["promote", "force", "rollback", "pardon", "accept", "breaker", "reload", "restart"]
OF_MODELS = ("promote", "force", "rollback", "pardon", "accept", "breaker")

Count = Annotated[int, Field(ge=0, le=MOST_APPROVERS)]


def _listed(value: object) -> object:
    """One item stands for a list of one."""
    return (value,) if isinstance(value, str) else value


def public_key(text: str) -> bytes:
    """The 32 bytes of an Ed25519 key, from its base64 of DER. Raises ValueError."""
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("it is no base64") from error
    if not data.startswith(_PREFIX) or len(data) != len(_PREFIX) + 32:
        raise ValueError("it is no Ed25519 key")
    return data.removeprefix(_PREFIX)


def _public(value: object) -> object:
    try:
        if not isinstance(value, str):
            raise ValueError("it is no text")
        public_key(value)
    except ValueError as error:
        raise UnitError(f"this is no public key of an approver: {error}", HOW_KEY) from error
    return value


class ModelApprovals(Section):
    """Approvals for one model. What is absent is as in the server's `approvals`."""

    promote: Count | None = None
    """Of promotions."""
    force: Count | None = None
    """Of promotions with --force. At least as many as for `promote`."""
    rollback: Count | None = None
    """Of rollbacks that a person asks for."""
    pardon: Count | None = None
    """Of pardons."""
    accept: Count | None = None
    """Of drift that is accepted."""
    breaker: Count | None = None
    """Of breaker overrides."""


class Approvals(Section):
    """How many operators with the right to approve, other than the one who asks, must agree before something is done.
    0: it is done at once. Needs `operators`."""

    promote: Count = 1
    """Promotions. Where it is not 0, a new version answers no request before it was promoted: version_policy newest
    means promoted."""
    force: Count = 2
    """Promotions with --force, whose bounds are not all decided. At least as many as for `promote`."""
    rollback: Count = 0
    """Rollbacks that a person asks for. The server's own never wait."""
    pardon: Count = 0
    """Pardons of contained inputs."""
    accept: Count = 0
    """Drift that is accepted: the present becomes what is usual."""
    breaker: Count = 0
    """Breaker overrides. Their time begins when the last approval is given."""
    reload: Count = 1
    """Changes of the configuration, in the main file or in a model.yaml. New files of models are none. A change that no
    operator has claimed by `modelward reload`, and no approver has signed, needs one more."""
    restart: Count = 0
    """Restarts of the workers."""
    expire: Duration = 24 * 60 * MINUTE
    """Time after which a proposal that is not approved is void."""
    keys: Mapping[Annotated[str, Field(pattern=r"^[^\s+]{1,200}$")], Annotated[str, BeforeValidator(_public)]] = Field(
        default_factory=dict, max_length=MOST_PEOPLE
    )
    """Ed25519 keys by the approver's name, in base64 of DER. A configuration file that is signed with one of them
    (`modelward config sign`) has this approver's approval."""
    people: Mapping[str, Annotated[tuple[str, ...], BeforeValidator(_listed), Field(strict=False, min_length=1)]] = (
        Field(default_factory=dict, max_length=MOST_PEOPLE)
    )
    """Names of operators that belong to one person, by a name for the person: {ada: [ada@example.com, ops-ada]}. They
    approve once, and none of them what another has proposed. Operators with the same name are always one person,
    whatever proved it."""

    @model_validator(mode="after")
    def _names_are_of_one_person(self) -> Self:
        owners: dict[str, str] = {}
        for person, names in self.people.items():
            for name in names:
                if owners.setdefault(name, person) != person:
                    raise UnitError(f"{name} belongs to {owners[name]} and to {person}", "Leave it with one of them")
        return self

    def person(self, name: str) -> str:
        """Who stands behind the name of an operator."""
        return next((person for person, names in self.people.items() if name in (person, *names)), name)
