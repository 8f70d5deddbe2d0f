"""The one place that calls the libraries of model-signing and Sigstore (the extra `signing`).

model-signing's public call hashes files by their paths. Here files are hashed as they are loaded, so that its verifiers
are asked about the signature alone; they take bytes that are held already in place of files. That is not its public
interface: pyproject.toml pins the minor release, and tests of this module hold it.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from msgspec import Struct

from modelward.integrity.bundle import Bundle
from modelward.problem import Problem, ProblemsFound

OTHER_KEY = "it names another key"
T = TypeVar("T")


class Held(Struct, frozen=True):
    """What the library reads in place of a file."""

    data: bytes

    def read_bytes(self) -> bytes:
        return self.data

    def read_text(self, encoding: str = "utf-8") -> str:
        return self.data.decode(encoding)


def missing() -> ProblemsFound | None:
    """Where the libraries are not installed."""
    try:
        import model_signing.verifying  # noqa: F401, PLC0415 - an extra
    except ImportError as error:
        what, why = "signatures of models cannot be verified", f"model-signing is not installed ({error})"
        return ProblemsFound([Problem(what, "integrity", why, "pip install 'modelward[signing]'")])
    return None


def by_key(bundle: Bundle, key: bytes) -> bytes:
    """The payload that a public key (PEM) has signed. Raises ValueError with words."""
    from model_signing._signing import sign_ec_key, sign_sigstore_pb  # noqa: PLC0415

    signature = _checked(lambda: sign_sigstore_pb.Signature.read(Held(bundle.text.encode())))
    return _verified(lambda: sign_ec_key.Verifier(Held(key)), signature)


def by_certificate(bundle: Bundle, authorities: bytes, now: datetime) -> bytes:
    """The payload that the bundle's first certificate has signed, which one of the authorities (PEM) vouches for now.
    Raises ValueError with words."""
    from model_signing._signing import sign_certificate, sign_sigstore_pb  # noqa: PLC0415

    _checked(lambda: _check_chain(bundle, authorities, now))
    signature = _checked(lambda: sign_sigstore_pb.Signature.read(Held(bundle.text.encode())))
    return _verified(lambda: sign_certificate.Verifier([Held(authorities)]), signature)


def by_sigstore(bundle: Bundle, trust_root: bytes, identity: str, issuer: str) -> bytes:
    """The payload that this identity of this issuer has signed. Asks no network. Raises ValueError with words."""
    from sigstore.models import Bundle as SigstoreBundle  # noqa: PLC0415
    from sigstore.verify import Verifier  # noqa: PLC0415
    from sigstore.verify.policy import Identity  # noqa: PLC0415

    def verify() -> bytes:
        verifier = Verifier(trusted_root=_trusted_root(trust_root))
        policy = Identity(identity=identity, issuer=issuer)
        return _payload(*verifier.verify_dsse(SigstoreBundle.from_json(bundle.text.encode()), policy))

    return _checked(verify)


def sign(
    name: str,
    hashes: Mapping[str, str],
    ignored: Sequence[str],
    out: Path,
    *,
    key: Path,
    password: bytes | None,
    certificate: Path | None,
    chain: Sequence[Path],
) -> None:
    """Writes the signature of these files (SHA-256 by name) to `out`. Raises ValueError with words."""
    from model_signing import manifest, signing  # noqa: PLC0415
    from model_signing._hashing.hashing import Digest  # noqa: PLC0415

    class Hashed:
        """In place of the library's own hashing."""

        def hash(self, model_path: object) -> Any:
            kind = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": [*ignored]}
            items = [
                manifest.FileManifestItem(path=PurePosixPath(file), digest=Digest("sha256", bytes.fromhex(digest)))
                for file, digest in hashes.items()
            ]
            return manifest.Manifest(name, items, manifest.SerializationType.from_args(kind))

    def work() -> None:
        config = signing.Config().set_hashing_config(Hashed())
        if certificate is None:
            config.use_elliptic_key_signer(private_key=key, password=password)
        else:
            # it refuses an empty chain; the certificate a second time changes nothing
            between = [*chain] or [certificate]
            config.use_certificate_signer(private_key=key, signing_certificate=certificate, certificate_chain=between)
        config.sign(name, out)

    _checked(work)


def _trusted_root(data: bytes) -> Any:
    from sigstore.models import ClientTrustConfig, TrustedRoot  # noqa: PLC0415
    from sigstore_models.trustroot import v1 as trustroot  # noqa: PLC0415

    if "clienttrustconfig" in str(json.loads(data)["mediaType"]):
        return ClientTrustConfig.from_json(data.decode()).trusted_root
    return TrustedRoot(trustroot.TrustedRoot.from_json(data))


def _check_chain(bundle: Bundle, authorities: bytes, now: datetime) -> None:
    """model-signing checks the chain as of the day on which the signer's certificate began. It must be good now (OMS
    1.0, section 8.2)."""
    from cryptography import x509  # noqa: PLC0415
    from OpenSSL import crypto  # noqa: PLC0415

    signer, *between = map(x509.load_der_x509_certificate, bundle.chain)
    if not signer.not_valid_before_utc <= now <= signer.not_valid_after_utc:
        span = f"{signer.not_valid_before_utc:%Y-%m-%d} to {signer.not_valid_after_utc:%Y-%m-%d}"
        raise ValueError(f"the signer's certificate is valid from {span}")
    store = crypto.X509Store()
    for authority in x509.load_pem_x509_certificates(authorities):
        store.add_cert(crypto.X509.from_cryptography(authority))
    store.set_time(now)
    chain = [crypto.X509.from_cryptography(each) for each in between]
    crypto.X509StoreContext(store, crypto.X509.from_cryptography(signer), chain).verify_certificate()


def _verified(make: Callable[[], Any], signature: Any) -> bytes:
    return _checked(lambda: _payload(*make()._verify_signed_content(signature)))


def _payload(kind: str, payload: bytes) -> bytes:
    if kind != "application/vnd.in-toto+json":
        raise ValueError("its payload is no in-toto statement")
    return payload


def _checked(work: Callable[[], T]) -> T:
    """Whatever the libraries raise, as ValueError: they read a stranger's bytes, and their exceptions are many."""
    try:
        with _quiet():
            return work()
    except Exception as error:
        text = " ".join(str(error).split())
        if type(error).__name__ == "InvalidSignature":  # which has no words
            text = "the signature does not fit what it signs"
        raise ValueError(text[:300] or type(error).__name__) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The library prints warnings of old formats, where our own output is."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
