"""Who calls, and may they: credentials that are taken, and what their identities may do."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from modelward.config.fields import BeforeValidator, Field, model_validator
from modelward.config.files import FileKind
from modelward.config.section import Section
from modelward.config.shown_url import origin, without_query
from modelward.config.units import MINUTE, SECOND, Duration, UnitError

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
Kind = Literal["infer", "stream", "metadata", "statistics", "repository", "passthrough", "shadow"]
Source = Literal["certificate", "jwt", "key"]
Proof = Literal["certificate", "token", "jwt", "key", "any"]

DEFAULT_KINDS: tuple[Kind, ...] = ("infer", "stream", "metadata")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
HOW_JWKS = "Write a file or an https URL (http only for localhost)"


def listed(value: object) -> object:
    """One item stands for a list of one."""
    return (value,) if isinstance(value, str) else value


SOURCES: tuple[Source, ...] = ("certificate", "jwt", "key")
By = Annotated[tuple[Proof, ...], BeforeValidator(listed)]


def sources(by: tuple[Proof, ...]) -> tuple[Source, ...]:
    """What may prove a name where `by` says this: token is jwt by another word."""
    return tuple(source for source in SOURCES if {"any", source, "token" if source == "jwt" else source} & set(by))


def _jwks(value: object) -> object:
    if isinstance(value, str) and "://" in value:
        url = urlsplit(value)
        if url.scheme != "https" and not (url.scheme == "http" and url.hostname in LOOPBACK):
            raise UnitError(f"{origin(value)!r} is no https URL", HOW_JWKS)
        if url.username or url.password:
            raise UnitError("the URL holds a password", "Key sets are public: leave it out")
    return value


class Jwt(Section):
    """Tokens of one issuer. A token needs `exp`. Its `alg` must be one of `algorithms`, which all use public keys."""

    issuer: str = Field(min_length=1)
    """Value that `iss` must have."""
    audience: Annotated[tuple[str, ...], BeforeValidator(listed)] = Field(strict=False, min_length=1)
    """Values of which `aud` must hold at least one."""
    jwks: Annotated[str, FileKind.OR_URL, BeforeValidator(_jwks)] = Field(min_length=1)
    """Key set of the issuer: a file, which is loaded again when it changes, or an https URL."""
    ca: Path | None = Field(default=None, strict=False)
    """PEM: certificate authorities of the URL's server. Absent: those of the system."""
    algorithms: Annotated[tuple[Algorithm, ...], BeforeValidator(listed)] = Field(
        default=("RS256", "ES256", "EdDSA"), strict=False, min_length=1
    )
    """Signature algorithms that are accepted."""
    identity: str = Field(default="sub", min_length=1)
    """Claim that names the caller."""
    leeway: Duration = 30 * SECOND
    """Allowed difference between clocks."""
    refresh: Duration = Field(default=5 * MINUTE, ge=10 * SECOND)
    """Time between two downloads from the URL. A token with an unknown key causes a download at once, at most every 10
    s."""
    max_stale: Duration = 24 * 60 * MINUTE
    """How long the last keys are used while the URL cannot be reached."""

    @property
    def is_url(self) -> bool:
        return "://" in self.jwks

    @property
    def where(self) -> str:
        """jwks as it may be shown."""
        return without_query(self.jwks) if self.is_url else self.jwks

    @model_validator(mode="after")
    def _ca_has_url(self) -> Self:
        if self.ca is not None and not self.jwks.startswith("https://"):
            raise UnitError("ca is set and jwks is no https URL", "Leave it out")
        return self


class Rule(Section):
    """Some callers, and what they may do. What no rule allows is refused. All rules that match add up."""

    identity: str | None = Field(default=None, min_length=1)
    """Callers that the rule is for: a name, where * stands for any characters: spiffe://prod/*, team-a, *@example.com.
    """
    anonymous: bool = False
    """true, in place of identity: the rule is for callers without a credential."""
    by: By = Field(default=("any",), strict=False, min_length=1)
    """How the identity must be proved. A token and a key of the same name are two identities, and a rule without `by`
    allows both. Where several kinds are accepted, `modelward check` warns of such a rule."""
    models: Annotated[tuple[str, ...], BeforeValidator(listed)] = Field(strict=False, min_length=1)
    """Names of models, where * stands for any characters."""
    methods: Annotated[tuple[Kind, ...], BeforeValidator(listed)] = Field(
        default=DEFAULT_KINDS, strict=False, min_length=1
    )
    """`infer`: ModelInfer. `stream`: ModelStreamInfer. `metadata`: metadata of server and models, model configuration,
    reflection. `statistics`: ModelStatistics. `repository`: RepositoryIndex. `passthrough`: methods that Modelward does
    not know. `shadow`: to mark requests as copies for a shadow (modelward-shadow), which are not mirrored again."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """What may prove the identity."""
        return sources(self.by)

    @model_validator(mode="after")
    def _is_for_somebody(self) -> Self:
        if (self.identity is None) != self.anonymous:
            how = "Write identity: NAME or anonymous: true"
            raise UnitError("a rule is for an identity or for anonymous callers", how)
        return self

    @model_validator(mode="after")
    def _passthrough_is_for_all(self) -> Self:
        if "passthrough" in self.methods and "*" not in self.models:
            raise UnitError(
                "passthrough cannot be for some models", "Such calls are not read: write models: ['*'], or leave it out"
            )
        return self


class Access(Section):
    """Once it is there, callers may do only what rules allow. Health checks stay open."""

    certificates: bool = False
    """true: the name in a client certificate is an identity: its only URI (SPIFFE), otherwise its first DNS name,
    otherwise its first e-mail address. Needs tls.client_ca."""
    jwt: Jwt | None = None
    """Accepts tokens in `authorization: Bearer`."""
    keys: Path | None = Field(default=None, strict=False)
    """File of API keys, as `modelward token` writes it. It is loaded again when it changes. Clients send a key in
    `x-api-key` or `authorization: Bearer`."""
    rules: tuple[Rule, ...] = Field(default=(), strict=False, max_length=1024)
    """Who may do what."""
    forward_credentials: bool = False
    """true: upstreams get the `authorization` of a token. API keys are never forwarded."""

    @model_validator(mode="after")
    def _somebody_may_call(self) -> Self:
        anonymous = any(rule.anonymous for rule in self.rules)
        if not (self.certificates or self.jwt or self.keys or anonymous):
            how = "Set certificates, jwt or keys, or write a rule with anonymous: true; or leave access out"
            raise UnitError("no caller can have an identity", how)
        return self


def pattern(text: str) -> re.Pattern[str]:
    """A whole name; * stands for any characters, also none."""
    return re.compile(".*".join(map(re.escape, text.split("*"))), re.DOTALL)
