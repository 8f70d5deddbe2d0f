"""Certificates for tests: authorities made on the spot, and what they sign written as files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID, NameOID

SAN = ExtensionOID.SUBJECT_ALTERNATIVE_NAME
NO_TEXT = b"\xff\xfe.test"


@dataclass(frozen=True)
class Pair:
    """A certificate and its key as PEM files, and who signed it."""

    certificate: Path
    key: Path


def authority_file(authority: trustme.CA, file: Path) -> Path:
    """The authority's own certificate, for those who trust it."""
    file.write_bytes(authority.cert_pem.bytes())
    return file


def write_pair(issued: trustme.LeafCert, folder: Path, name: str) -> Pair:
    """Writes both files; over old ones by renaming, as a renewal of certificates does."""
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    _replace(pair.certificate, b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    _replace(pair.key, issued.private_key_pem.bytes())
    return pair


def _replace(file: Path, content: bytes) -> None:
    beside = file.with_suffix(".new")
    beside.write_bytes(content)
    beside.chmod(0o600)
    os.replace(beside, file)


def credentials(authority: trustme.CA, issued: trustme.LeafCert | None = None) -> grpc.ChannelCredentials:
    """A client that trusts `authority`, and shows `issued` where the server asks for a certificate."""
    if issued is None:
        return grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    return grpc.ssl_channel_credentials(authority.cert_pem.bytes(), issued.private_key_pem.bytes(), chain)


def issue(
    authority: trustme.CA,
    *names: x509.GeneralName,
    common_name: str = "client",
    seconds: float = 3600,
    raw_name: bytes | None = None,
) -> trustme.LeafCert:
    """A client's certificate with exactly these subject alternative names, good for so long from now.

    raw_name: a DNS name in place of them, of any bytes.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    signing = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(seconds=seconds))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if raw_name is not None:
        name = bytes([0x82, len(raw_name)]) + raw_name  # a DNS name, RFC 5280, section 4.2.1.6
        value = bytes([0x30, len(name)]) + name
        builder = builder.add_extension(x509.UnrecognizedExtension(SAN, value), critical=False)
    signed = builder.sign(signing, hashes.SHA256())  # type: ignore[arg-type]
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return trustme.LeafCert(private, signed.public_bytes(serialization.Encoding.PEM), [])
