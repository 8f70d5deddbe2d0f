"""Whose signatures are trusted: the files that the configuration names, read and checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct, field

from modelward import certificate
from modelward.config.integrity import Integrity
from modelward.problem import Gather, Problem, ProblemsFound

CURVES = ("secp256r1", "secp384r1", "secp521r1")  # that OMS has (its algorithm registry)
KEY_HOW = "Write the public key as PEM: openssl pkey -in KEY.pem -pubout; of the curve P-256, P-384 or P-521"


class Trust(Struct, frozen=True):
    """keys: PEM by name. authorities: PEM, for certificates with one of these identities. trust_root: JSON, for bundles
    of Sigstore with one of these identities and issuers."""

    keys: Mapping[str, bytes] = field(default_factory=dict)
    authorities: bytes = b""
    identities: tuple[str, ...] = ()
    trust_root: bytes = b""
    sigstore: tuple[tuple[str, str], ...] = ()

    @property
    def fingerprint(self) -> str:
        """Another one where anything else is trusted."""
        return hashlib.sha256(repr(self).encode()).hexdigest()


def load_trust(settings: Integrity) -> Trust:
    """Raises ProblemsFound with all problems."""
    read = Gather()

    def step(work: Callable[[str, Path], bytes], key: str, file: Path) -> bytes:
        return read.step(lambda: work(key, file)) or b""

    keys = {name: step(_public_key, f"integrity.keys.{name}", file) for name, file in settings.keys.items()}
    own, sigstore = settings.certificates, settings.sigstore
    authorities = step(_authorities, "integrity.certificates.ca", own.ca) if own is not None else b""
    root = step(_trust_root, "integrity.sigstore.trust_root", sigstore.trust_root) if sigstore is not None else b""
    read.end()
    return Trust(
        keys,
        authorities,
        own.identities if own is not None else (),
        root,
        tuple((each.identity, each.issuer) for each in sigstore.identities) if sigstore is not None else (),
    )


def words(settings: Integrity) -> str:
    """For READY."""
    keys, own, sigstore = len(settings.keys), settings.certificates, settings.sigstore
    trusted = [f"{keys} key{'' if keys == 1 else 's'}"] if keys else []
    trusted += [f"certificates of {own.ca.name}"] if own is not None else []
    trusted += [f"{len(sigstore.identities)} identities of Sigstore"] if sigstore is not None else []
    level = {True: "signatures are required", "warn": "unsigned versions are served, with a warning"}
    return f"{level.get(settings.require, 'off')}; {', '.join(trusted) or 'no signer'} trusted"


def _public_key(key: str, file: Path) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey  # noqa: PLC0415 - only here
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    data = certificate.read(file, key)
    if b"PRIVATE KEY" in data:
        why = "who can read it can sign models"
        raise ProblemsFound([Problem(f"{key} holds a private key", str(file), why, KEY_HOW)])
    try:
        found = load_pem_public_key(data)
    except ValueError as error:
        raise ProblemsFound([Problem(f"{key} holds no public key", str(file), how=KEY_HOW)]) from error
    if not isinstance(found, EllipticCurvePublicKey) or found.curve.name not in CURVES:
        why = "OpenSSF Model Signing has elliptic curves alone"
        raise ProblemsFound([Problem(f"{key} holds a key of another kind", str(file), why, KEY_HOW)])
    return data


def _authorities(key: str, file: Path) -> bytes:
    from cryptography.x509 import load_pem_x509_certificates  # noqa: PLC0415

    data = certificate.read(file, key)
    try:
        load_pem_x509_certificates(data)
    except ValueError as error:
        how = "Write one or more PEM certificates"
        raise ProblemsFound([Problem(f"{key} holds no certificate", str(file), how=how)]) from error
    return data


def _trust_root(key: str, file: Path) -> bytes:
    data = certificate.read(file, key)
    try:
        media = json.loads(data)["mediaType"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        media, why = "", str(error)
    else:
        why = f"its mediaType is {str(media)[:100]!r}"
    if not any(kind in str(media) for kind in ("trustedroot", "clienttrustconfig")):
        how = "Write the trusted_root.json of the Sigstore instance"
        raise ProblemsFound([Problem(f"{key} is no trusted root of Sigstore", str(file), why, how)])
    return data
