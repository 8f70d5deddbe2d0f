"""Signatures verified: who signed which files. Runs in a child process, since it reads a stranger's bytes at length."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import Struct

from modelward.child import Bounds, ChildEnded, in_child
from modelward.config.access import pattern
from modelward.integrity import library, manifest
from modelward.integrity.bundle import Bundle, Kind, names_of
from modelward.integrity.bundle import parse as parse_bundle
from modelward.integrity.manifest import Manifest
from modelward.integrity.trust import Trust

CHILD = Bounds(60, 2 << 30)
MOST_KNOWN = 4096  # verdicts that are kept: of each version one, and of some that are gone


class Signed(Struct, frozen=True):
    """What a trusted signer has signed. signer: name of a key, identity in a certificate. until: when the certificate
    ends, where it must be good at each load."""

    manifest: Manifest
    signer: str
    kind: Kind
    until: datetime | None = None


Verdict = Signed | str  # why it is not trusted, in words


class Verdicts:
    """Of the signatures that were verified before: by their bytes and by what is trusted, so that nothing else counts.
    Of this process; used by one thread at a time."""

    def __init__(self) -> None:
        self._known: dict[str, Signed] = {}

    def of(self, bundles: Sequence[bytes], trust: Trust, now: datetime | None = None) -> list[Verdict]:
        """Of each signature file. Raises ProblemsFound where none can be verified."""
        at = now or datetime.now(UTC)
        keys = [f"{hashlib.sha256(bundle).hexdigest()} {trust.fingerprint}" for bundle in bundles]
        found: dict[str, Verdict] = {
            key: known
            for key in keys
            if (known := self._known.get(key)) is not None and (known.until is None or at <= known.until)
        }
        fresh = {key: bundle for key, bundle in zip(keys, bundles, strict=True) if key not in found}
        if fresh:
            found |= zip(fresh, _in_child(list(fresh.values()), trust, at), strict=True)
        if len(self._known) > MOST_KNOWN:
            self._known.clear()
        self._known |= {key: verdict for key, verdict in found.items() if isinstance(verdict, Signed)}
        return [found[key] for key in keys]


def _in_child(bundles: Sequence[bytes], trust: Trust, now: datetime) -> list[Verdict]:
    try:
        return in_child(CHILD, verify_all, bundles, trust, now)
    except (ChildEnded, MemoryError) as ended:
        if len(bundles) > 1:  # one of them is to blame
            return [verdict for bundle in bundles for verdict in _in_child([bundle], trust, now)]
        if isinstance(ended, MemoryError):
            return ["verifying it takes too much memory"]
        return [f"verifying it ends the process that does it: {ended}"]


def verify_all(bundles: Sequence[bytes], trust: Trust, now: datetime) -> list[Verdict]:
    """Raises ProblemsFound where the libraries are missing."""
    if (problem := library.missing()) is not None:
        raise problem
    return [verdict_on(bundle, trust, now) for bundle in bundles]


def verdict_on(data: bytes, trust: Trust, now: datetime) -> Verdict:
    """In this process."""
    try:
        bundle = parse_bundle(data)
        how = {"key": _by_key, "certificate": _by_certificate, "sigstore": _by_sigstore}[bundle.kind]
        return how(bundle, trust, now)
    except ValueError as error:
        return str(error)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - a stranger's bytes: they must not fail the signatures of others
        return f"it cannot be verified ({type(error).__name__})"


def _by_key(bundle: Bundle, trust: Trust, now: datetime) -> Signed:
    if not trust.keys:
        raise ValueError("it is made with a key, and integrity.keys names none")
    why = []
    for name, key in trust.keys.items():
        try:
            payload = library.by_key(bundle, key)
        except ValueError as error:
            why.append(f"{name}: {library.OTHER_KEY if str(error).startswith('Key mismatch') else error}")
        else:
            return Signed(manifest.parse(payload), name, "key")
    raise ValueError(f"no trusted key has made it: {'; '.join(why)[:500]}")


def _by_certificate(bundle: Bundle, trust: Trust, now: datetime) -> Signed:
    if not trust.authorities:
        raise ValueError("it is made with a certificate, and integrity.certificates is not set")
    payload = library.by_certificate(bundle, trust.authorities, now)
    names, until = names_of(bundle.chain[0])
    wanted = [pattern(identity) for identity in trust.identities]
    signer = next((name for name in names if any(each.fullmatch(name) for each in wanted)), None)
    if signer is None:
        raise ValueError(f"its certificate is of {', '.join(names)[:200] or 'no name'}, which is not trusted")
    return Signed(manifest.parse(payload), signer, "certificate", until)


def _by_sigstore(bundle: Bundle, trust: Trust, now: datetime) -> Signed:
    if not trust.sigstore:
        raise ValueError("it is a Sigstore bundle, and integrity.sigstore is not set")
    names, _ = names_of(bundle.chain[0])
    why = f"its certificate is of {', '.join(names)[:200] or 'no name'}, which is not trusted"
    for identity, issuer in trust.sigstore:
        if identity in names:
            try:
                return Signed(
                    manifest.parse(library.by_sigstore(bundle, trust.trust_root, identity, issuer)),
                    identity,
                    "sigstore",
                )
            except ValueError as error:
                why = str(error)
    raise ValueError(why)
