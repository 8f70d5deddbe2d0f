"""A certificate for 127.0.0.1, made on the spot: what everybody in a race over TLS shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificate:
    """PEM files; `both` holds chain and key in one, as HAProxy reads them. trust: PEM of who signed it."""

    certificate: Path
    key: Path
    both: Path
    trust: bytes


def make(folder: Path) -> Certificate:
    """An ECDSA P-256 certificate of an authority of its own, as files in `folder`."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    files = Certificate(folder / "server.pem", folder / "server.key", folder / "both.pem", authority.cert_pem.bytes())
    chain, key = b"".join(blob.bytes() for blob in issued.cert_chain_pems), issued.private_key_pem.bytes()
    for path, content in ((files.certificate, chain), (files.key, key), (files.both, chain + key)):
        path.write_bytes(content)
    return files
