"""Keys and signed versions for tests."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from modelward.integrity.naming import name_by_path
from modelward.integrity.signing import Signer, sign


@dataclass(frozen=True)
class Keys:
    """One pair as PEM files."""

    private: Path
    public: Path


@cache
def _private(number: int, curve: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key({"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}[curve])


def keys(folder: Path, number: int = 0, curve: str = "p256", password: bytes | None = None) -> Keys:
    """Another pair for each number."""
    private = _private(number, curve)
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        encryption = serialization.BestAvailableEncryption(password)
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    pair = Keys(folder / f"{curve}-{number}.key", folder / f"{curve}-{number}.pub")
    pair.private.write_bytes(private.private_bytes(pem, form, encryption))
    public = private.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    pair.public.write_bytes(public)
    return pair


def signed(file: Path, pair: Keys, *beside: Path, name: str = "") -> Path:
    """Signs the version whose model is `file`, as `name` or as its place says; returns the signature's file."""
    return sign(file, Signer(pair.private), name or name_by_path(file), beside)
