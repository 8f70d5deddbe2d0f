"""The file of a signature: a Sigstore bundle around a DSSE envelope (OMS 1.0, section 4), read and not yet believed."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

LARGEST = 16 << 20  # bytes: one of 10,000 files has 3 MB
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle"
PAYLOAD_TYPE = "application/vnd.in-toto+json"

Kind = Literal["key", "certificate", "sigstore"]
MATERIALS: dict[str, Kind] = {"publicKey": "key", "x509CertificateChain": "certificate", "certificate": "sigstore"}


class Bundle(Struct, frozen=True):
    """kind: how it is signed. hint: which key, where it says so. chain: certificates (DER), the signer's first. text:
    the whole."""

    kind: Kind
    hint: str
    chain: tuple[bytes, ...]
    payload: bytes
    text: str


def parse(data: bytes) -> Bundle:
    """Raises ValueError with words."""
    try:
        text = data.decode()
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON: {error}") from None
    if not str(_of(document, "mediaType", str)).startswith(MEDIA_TYPE):
        raise ValueError("its mediaType is not that of a Sigstore bundle")
    material = _of(document, "verificationMaterial", dict)
    kinds = [kind for key, kind in MATERIALS.items() if material.get(key) is not None]
    if len(kinds) != 1:
        raise ValueError("its verificationMaterial holds not exactly one of a key, a certificate chain, a certificate")
    (kind,) = kinds
    if kind == "sigstore" and not _of(material, "tlogEntries", list):
        raise ValueError("it has no entry of a transparency log")
    envelope = _of(document, "dsseEnvelope", dict)
    if _of(envelope, "payloadType", str) != PAYLOAD_TYPE:
        raise ValueError("its payload is no in-toto statement")
    signatures = _of(envelope, "signatures", list)
    if len(signatures) != 1 or not _of(signatures[0], "sig", str):
        raise ValueError(f"it has {len(signatures)} signatures and must have one")
    return Bundle(kind, _hint(material), _chain(material, kind), _decoded(_of(envelope, "payload", str)), text)


def claim(bundle: Bundle) -> str:
    """Who has signed, as the signature itself says. Raises ValueError."""
    if bundle.kind == "key":
        return f"key {bundle.hint[:16]}" if bundle.hint else "a key"
    names, until = names_of(bundle.chain[0])
    what = "Sigstore identity" if bundle.kind == "sigstore" else f"certificate until {until:%Y-%m-%d}, of"
    return f"{what} {', '.join(names)[:200]}"


def names_of(der: bytes) -> tuple[list[str], datetime]:
    """In a certificate: e-mail addresses, URIs and DNS names, or else the common name; and its end. Raises
    ValueError."""
    from cryptography import x509  # noqa: PLC0415 - only where there are certificates

    certificate = x509.load_der_x509_certificate(der)
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        kinds = (x509.RFC822Name, x509.UniformResourceIdentifier, x509.DNSName)
        names = [str(name) for kind in kinds for name in found.get_values_for_type(kind)]
    except x509.ExtensionNotFound:
        names = []
    common = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return names or [str(each.value) for each in common], certificate.not_valid_after_utc


def _of(document: Any, key: str, kind: type) -> Any:
    value = document.get(key) if isinstance(document, dict) else None
    if not isinstance(value, kind):
        raise ValueError(f"it has no {key}")
    return value


def _hint(material: dict[str, Any]) -> str:
    key = material.get("publicKey")
    hint = key.get("hint") if isinstance(key, dict) else None
    return hint if isinstance(hint, str) else ""


def _chain(material: dict[str, Any], kind: Kind) -> tuple[bytes, ...]:
    if kind == "key":
        return ()
    certificates = (
        [_of(material, "certificate", dict)]
        if kind == "sigstore"
        else _of(_of(material, "x509CertificateChain", dict), "certificates", list)
    )
    if not certificates:
        raise ValueError("its certificate chain is empty")
    return tuple(_decoded(_of(each, "rawBytes", str)) for each in certificates)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a field of it is no base64") from None
