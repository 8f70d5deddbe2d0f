"""Which signatures of model files are trusted, and what happens to versions without one."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from modelward.config.access import pattern
from modelward.config.address import OFF
from modelward.config.fields import BeforeValidator, Field, WithJsonSchema, model_validator
from modelward.config.section import Section
from modelward.config.units import MINUTE, SECOND, Duration, UnitError

Level = Literal[True, "warn", "off"]
NamesRule = Literal["accept", "require"]
MOST_TRUSTED = 256  # keys, identities or patterns: each signature is held against all of its kind


def _level(value: object) -> object:
    """Environment variables have words alone; false says the same as off."""
    if value in (False, "false"):
        return OFF
    return True if value == "true" else value


Require = Annotated[Level, BeforeValidator(_level), WithJsonSchema({"enum": [True, "warn", OFF]})]


def _listed(value: object) -> object:
    """One item stands for a list of one."""
    return (value,) if isinstance(value, str | Mapping) else value


Names = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_listed), Field(strict=False, min_length=1)
]


class SigningCertificates(Section):
    """Signatures made with a certificate of your own authority."""

    ca: Path = Field(strict=False)
    """PEM: the authorities that certificates of signers must come from."""
    identities: Names = Field(max_length=MOST_TRUSTED)
    """Names that a signer's certificate may have: e-mail address, URI or DNS name; where it has none of them, its
    common name. * stands for any characters."""


class SigstoreIdentity(Section):
    """One signer who is known to Sigstore."""

    identity: str = Field(min_length=1)
    """The e-mail address or the workflow's URI in the certificate."""
    issuer: str = Field(min_length=1)
    """URL of the OpenID Connect issuer that vouched for it."""


class Sigstore(Section):
    """Sigstore bundles. They are verified offline: nothing is asked of a network."""

    trust_root: Path = Field(strict=False)
    """JSON: the trusted root (or the client trust configuration) of the Sigstore instance."""
    identities: Annotated[tuple[SigstoreIdentity, ...], BeforeValidator(_listed)] = Field(
        strict=False, min_length=1, max_length=MOST_TRUSTED
    )
    """Signers that are trusted."""


class ModelIntegrity(Section):
    """What a model asks of its signatures where that differs from the server."""

    require: Require | None = None
    """As `integrity.require`. Absent: the server's."""
    signers: Names | None = None
    """Signers that count for this model: names of keys, and identities of certificates and of Sigstore; * stands for
    any characters. Absent: those of `integrity.signers`."""


class Integrity(Section):
    """Signatures of model files, in the format of OpenSSF Model Signing."""

    require: Require = True
    """`true`: a version whose files are not signed by a trusted signer is refused. `warn`: it is served, and READY,
    `status` and the log say so. `off`: signatures are not read."""
    keys: Mapping[str, Annotated[Path, Field(strict=False)]] = Field(default_factory=dict, max_length=MOST_TRUSTED)
    """Public keys by name: PEM files with an elliptic-curve key (P-256, P-384, P-521)."""
    certificates: SigningCertificates | None = None
    """Absent: no certificate is trusted."""
    sigstore: Sigstore | None = None
    """Absent: no Sigstore bundle is trusted."""
    signers: Mapping[str, Names] = Field(default_factory=dict, max_length=MOST_TRUSTED)
    """Who may sign which models: name pattern of models -> signers, by the names of keys and the identities of
    certificates and of Sigstore; * stands for any characters. The first pattern that matches a model counts. A model
    that no pattern matches takes every trusted signer."""
    names: NamesRule = "accept"
    """Signatures that name no model and version, as those of other tools. `accept`: they count, and READY, `status` and
    `check` say so. `require`: they do not. A signature for another model or version never counts."""
    interval: Duration = Field(default=60 * MINUTE, ge=10 * SECOND)
    """Time between two checks of the files on disk of all versions that are served."""

    @model_validator(mode="after")
    def _somebody_is_trusted(self) -> Self:
        if self.require != OFF and not (self.keys or self.certificates or self.sigstore):
            how = "Set integrity.keys, integrity.certificates or integrity.sigstore, or require: off"
            raise UnitError("integrity trusts no signer, so that every version would be refused", how)
        return self


def is_required(values: Mapping[str, Any], model: str) -> bool:
    """Whether a model's files must be signed, by the settings as they are written, which nothing has validated."""
    server = values.get("integrity")
    if not isinstance(server, Mapping):
        return "integrity" in values and bool(server)  # nothing usable: the schema tells
    models = values.get("models")
    own = models.get(model) if isinstance(models, Mapping) else None
    own = own.get("integrity") if isinstance(own, Mapping) else None
    wanted = own.get("require") if isinstance(own, Mapping) else None
    return _level(server.get("require", True) if wanted is None else wanted) is True


@dataclass(frozen=True, slots=True)
class ModelTrust:
    """What holds for one model. signers: None where all that are trusted count. names: of signatures that name no model
    and version."""

    require: Level
    signers: tuple[str, ...] | None = None
    names: NamesRule = "accept"

    @classmethod
    def of(cls, name: str, server: Integrity | None, own: ModelIntegrity | None) -> Self:
        """From the server's settings and the model's own."""
        if server is None:
            return cls("off")
        mine = own or ModelIntegrity.default()
        signers = next((names for models, names in server.signers.items() if pattern(models).fullmatch(name)), None)
        require = server.require if mine.require is None else mine.require
        return cls(require, mine.signers or signers, server.names)

    def allows(self, signer: str) -> bool:
        """Whether the signatures of a trusted signer count."""
        return self.signers is None or any(pattern(each).fullmatch(signer) for each in self.signers)
