"""Names of callers: what may be one, and which a client certificate proves.

Of a certificate counts its subjectAltName alone: its one URI (X.509-SVID, section 2, has exactly one), else the first
DNS name, else the first e-mail address. The subject's common name is no identity (RFC 9525, section 2).

Rules and bindings compare names as text, so a name has the form of its kind: a DNS name that is written like a URI is
no name. An authority that limits DNS names does not limit URIs.
"""

import re
from collections.abc import Mapping
from typing import Any

LONGEST = 512  # bytes
_SPIFFE = re.compile(r"spiffe://[a-z0-9._-]{1,255}(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+)*")
_FORMS = {"URI": re.compile(r"[^:]+:.+"), "DNS": re.compile(r"[^:/@]+"), "email": re.compile(r"[^:@]+@[^:@]+")}
"""By kind, in their order: no text is of two."""


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
    for kind, form in _FORMS.items():
        if values := by_kind.get(kind):
            return values[0] if is_name(values[0]) and form.fullmatch(values[0]) else None
    return None


def common_name(certificate: Mapping[str, Any]) -> str | None:
    """The subject's first, which may be anything, of a certificate without subjectAltName."""
    if certificate.get("subjectAltName"):
        return None
    fields = (field for part in certificate.get("subject", ()) for field in part)
    return next((value for kind, value in fields if kind == "commonName"), None)
