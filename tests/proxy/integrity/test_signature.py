"""Who has signed: keys and certificates, trusted or not, good or past their time. The library itself is asked."""

import json
import sys
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import trustme

from modelward.integrity.bundle import claim, parse
from modelward.integrity.signature import Signed, Verdict, Verdicts, verdict_on, verify_all
from modelward.integrity.signing import Signer, sign
from modelward.integrity.trust import Trust
from modelward.problem import ProblemsFound
from tests import models
from tests.certificates import authority_file, write_pair
from tests.signing import keys, signed

NOW = datetime.now(UTC)
STORE = "https%3A%2F%2Ftuf-repo-cdn.sigstore.dev"  # the public instance, as sigstore names its copy of the root


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A version's model."""
    return models.repository(tmp_path / "r", {"one": models.add_one()}) / "one/1/model.onnx"


def by_keys(signature: Path, **trusted: Path) -> Verdict:
    trust = Trust({name: key.read_bytes() for name, key in trusted.items()})
    return verdict_on(signature.read_bytes(), trust, NOW)


@pytest.mark.parametrize("curve", ["p256", "p384", "p521"])
def test_a_trusted_key_is_named(curve: str, file: Path, tmp_path: Path) -> None:
    mine, other = keys(tmp_path, 1, curve), keys(tmp_path, 2)
    found = by_keys(signed(file, mine), other=other.public, release=mine.public)
    assert isinstance(found, Signed)
    assert (found.signer, found.kind, found.until) == ("release", "key", None)
    assert [*found.manifest.files] == ["model.onnx"]


def test_the_library_finds_the_same_by_its_own_way(file: Path, tmp_path: Path) -> None:
    from model_signing import verifying  # noqa: PLC0415

    (file.parent / "notes").mkdir()
    (file.parent / "notes/read.me").write_text("trained in May")
    pair = keys(tmp_path)
    signature = signed(file, pair)
    verifying.Config().use_elliptic_key_verifier(public_key=pair.public).verify(file.parent, signature)
    found = by_keys(signature, release=pair.public)
    assert isinstance(found, Signed) and sorted(found.manifest.files) == ["model.onnx", "notes/read.me"]
    subject = json.loads(parse(signature.read_bytes()).payload)["subject"][0]
    assert found.manifest.digest == f"sha256:{subject['digest']['sha256']}"


def test_an_unknown_key_is_not_trusted(file: Path, tmp_path: Path) -> None:
    found = by_keys(signed(file, keys(tmp_path, 1)), release=keys(tmp_path, 2).public)
    assert found == "no trusted key has made it: release: it names another key"
    assert by_keys(signed(file, keys(tmp_path, 1))) == "it is made with a key, and integrity.keys names none"


def changed(signature: Path, *path: str | int, value: Any = None) -> None:
    """In the signature's file; None leaves it out."""
    document = json.loads(signature.read_text())
    at = document
    for key in path[:-1]:
        at = at[key]
    if value is None:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    signature.write_text(json.dumps(document))


def test_a_signature_of_something_else_does_not_count(file: Path, tmp_path: Path) -> None:
    pair = keys(tmp_path, 1)
    before = json.loads(signed(file, pair).read_text())["dsseEnvelope"]["signatures"]
    file.write_bytes(models.mlp())
    signature = signed(file, pair)
    assert isinstance(by_keys(signature, release=pair.public), Signed)
    changed(signature, "dsseEnvelope", "signatures", value=before)
    assert by_keys(signature, release=pair.public) == (
        "no trusted key has made it: release: the signature does not fit what it signs"
    )


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        (["mediaType"], "text/plain", "mediaType"),
        (["verificationMaterial"], None, "it has no verificationMaterial"),
        (["verificationMaterial", "publicKey"], None, "not exactly one"),
        (["verificationMaterial", "certificate"], {"rawBytes": "AAAA"}, "not exactly one"),
        (["dsseEnvelope"], None, "it has no dsseEnvelope"),
        (["dsseEnvelope", "payloadType"], "text/plain", "no in-toto statement"),
        (["dsseEnvelope", "payload"], "=?", "no base64"),
        (["dsseEnvelope", "signatures"], [], "0 signatures"),
    ],
)
def test_a_bundle_of_another_form_is_refused(path: list[str], value: Any, why: str, file: Path, tmp_path: Path) -> None:
    pair = keys(tmp_path)
    signature = signed(file, pair)
    changed(signature, *path, value=value)
    assert why in str(by_keys(signature, release=pair.public))


def test_bytes_that_are_no_bundle_are_refused() -> None:
    for data in (b"", b"\xff\xfe", b"[]", b"1", b"{" * 100_000, b'{"mediaType": 1}'):
        assert isinstance(verdict_on(data, Trust(), NOW), str)


def by_certificate(file: Path, folder: Path, authority: trustme.CA, issued: trustme.LeafCert) -> bytes:
    pair = write_pair(issued, folder, "signer")
    return sign(file, Signer(pair.key, certificate=pair.certificate), "one/1").read_bytes()


def trusting(authority: trustme.CA, folder: Path, *identities: str) -> Trust:
    return Trust(authorities=authority_file(authority, folder / "ca.pem").read_bytes(), identities=identities)


def test_a_certificate_counts_for_the_names_that_are_trusted(file: Path, tmp_path: Path) -> None:
    authority = trustme.CA()
    signature = by_certificate(file, tmp_path, authority, authority.issue_cert("ml@example.com"))
    found = verdict_on(signature, trusting(authority, tmp_path, "*@example.com"), NOW)
    assert isinstance(found, Signed)
    assert (found.signer, found.kind) == ("ml@example.com", "certificate")
    assert claim(parse(signature)).endswith("of ml@example.com")
    other = verdict_on(signature, trusting(authority, tmp_path, "*@example.org"), NOW)
    assert other == "its certificate is of ml@example.com, which is not trusted"


def test_a_certificate_of_another_authority_does_not_count(file: Path, tmp_path: Path) -> None:
    mine, other = trustme.CA(), trustme.CA()
    signature = by_certificate(file, tmp_path, other, other.issue_cert("ml@example.com"))
    assert "unable to get local issuer" in str(verdict_on(signature, trusting(mine, tmp_path, "*"), NOW))
    assert "integrity.certificates is not set" in str(verdict_on(signature, Trust(), NOW))


def test_a_certificate_counts_only_while_it_is_valid(file: Path, tmp_path: Path) -> None:
    authority = trustme.CA()
    hour = timedelta(hours=1)
    issued = authority.issue_cert("ml@example.com", not_before=NOW - hour, not_after=NOW + hour)
    signature, trust = by_certificate(file, tmp_path, authority, issued), trusting(authority, tmp_path, "*")
    found = verdict_on(signature, trust, NOW)
    assert isinstance(found, Signed) and found.until is not None and found.until > NOW
    for moment in (NOW + timedelta(days=1), NOW - timedelta(days=1)):
        assert "the signer's certificate is valid from" in str(verdict_on(signature, trust, moment))


def keyless(file: Path, folder: Path, **material: Any) -> bytes:
    """A bundle in the form of Sigstore, of a certificate that no Sigstore has issued."""
    authority = trustme.CA()
    document = json.loads(by_certificate(file, folder, authority, authority.issue_cert("ci@example.com")))
    (first, *_) = document["verificationMaterial"]["x509CertificateChain"]["certificates"]
    document["verificationMaterial"] = {"certificate": first, "tlogEntries": [{}]} | material
    return json.dumps(document).encode()


def test_a_sigstore_bundle_needs_a_trusted_identity_and_a_log_that_vouches_for_it(file: Path, tmp_path: Path) -> None:
    root = (files("sigstore") / "_store" / STORE / "trusted_root.json").read_bytes()
    mine = Trust(trust_root=root, sigstore=(("ci@example.com", "https://accounts.example.com"),))
    other = Trust(trust_root=root, sigstore=(("cd@example.com", "https://accounts.example.com"),))
    bundle = keyless(file, tmp_path)
    assert "integrity.sigstore is not set" in str(verdict_on(bundle, Trust(), NOW))
    assert verdict_on(bundle, other, NOW) == "its certificate is of ci@example.com, which is not trusted"
    assert isinstance(verdict_on(bundle, mine, NOW), str)
    assert "transparency log" in str(verdict_on(keyless(file, tmp_path, tlogEntries=[]), mine, NOW))


def test_without_the_libraries_it_is_told_how_to_install_them(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "model_signing", None)
    with pytest.raises(ProblemsFound, match=r"modelward\[signing\]"):
        verify_all([b"{}"], Trust(), NOW)
    with pytest.raises(ProblemsFound, match=r"modelward\[signing\]"):
        sign(file, Signer(file), "one/1")


def test_verdicts_are_of_a_child_and_kept_for_the_same_bytes_and_trust(file: Path, tmp_path: Path) -> None:
    pair = keys(tmp_path)
    good, bad = signed(file, pair).read_bytes(), b"{}"
    trust, verdicts = Trust({"release": pair.public.read_bytes()}), Verdicts()
    first = verdicts.of([good, bad], trust)
    assert isinstance(first[0], Signed) and first[1] == "it has no mediaType"
    assert verdicts.of([good], trust)[0] is first[0]
    (distrusted,) = verdicts.of([good], Trust({"release": keys(tmp_path, 2).public.read_bytes()}))
    assert isinstance(distrusted, str)


def test_a_key_that_cannot_sign_is_a_problem(file: Path, tmp_path: Path) -> None:
    secret = keys(tmp_path, 3, password=b"word")
    with pytest.raises(ProblemsFound, match="the version cannot be signed"):
        sign(file, Signer(secret.private), "one/1")
    assert sign(file, Signer(secret.private, b"word"), "one/1").exists()
