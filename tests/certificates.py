"""Certificates for tests: authorities made on the spot, and what they sign written as files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import grpc
import trustme


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
    """Writes both files; over old ones by renaming, as whoever renews certificates does."""
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    _replace(pair.certificate, b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    _replace(pair.key, issued.private_key_pem.bytes())
    return pair


def _replace(file: Path, content: bytes) -> None:
    beside = file.with_suffix(".new")
    beside.write_bytes(content)
    os.replace(beside, file)


def credentials(authority: trustme.CA, issued: trustme.LeafCert | None = None) -> grpc.ChannelCredentials:
    """A client that trusts `authority`, and shows `issued` where the server asks for a certificate."""
    if issued is None:
        return grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    return grpc.ssl_channel_credentials(authority.cert_pem.bytes(), issued.private_key_pem.bytes(), chain)
