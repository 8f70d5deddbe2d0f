"""Names of callers: what may be one, and which a client certificate proves.

Of a certificate counts its subjectAltName alone: its one URI (X.509-SVID, section 2, has exactly one), else the first
DNS name, else the first e-mail address. The subject's common name is no identity (RFC 9525, section 2).
"""

import re
from collections.abc import Mapping
from typing import Any

LONGEST = 512  # bytes
_SPIFFE = re.compile(r"spiffe://[a-z0-9._-]{1,255}(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+)*")


def is_name(text: object) -> bool:
    """Printable, not too long, and a well-formed SPIFFE ID where it says that it is one."""
    if not isinstance(text, str) or not text or not text.isprintable() or len(text.encode()) > LONGEST:
        return False
    return _SPIFFE.fullmatch(text) is not None if text.lower().startswith("spiffe:") else True


def of_certificate(certificate: Mapping[str, Any]) -> str | None:
    """certificate: as SSLSocket.getpeercert gives one that was verified. None where it has no name."""
    by_kind: dict[str, list[str]] = {}
    for kind, value in certificate.get("subjectAltName", ()):
        by_kind.setdefault(kind, []).append(value)
    uris = by_kind.get("URI", [])
    if len(uris) > 1:
        return None
    name = next((values[0] for kind in ("URI", "DNS", "email") if (values := by_kind.get(kind))), None)
    return name if is_name(name) else None
