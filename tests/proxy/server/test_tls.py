"""Certificates as files: what is wrong with them is a problem with a remedy, and what changes is seen."""

from __future__ import annotations

import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from modelward.config.load import load
from modelward.config.tls import Tls
from modelward.problem import ProblemsFound
from modelward.server.tls import LiveMaterial, load_material
from tests.certificates import Pair, authority_file, write_pair


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def pair(authority: trustme.CA, tmp_path: Path) -> Pair:
    return write_pair(authority.issue_cert("server.test"), tmp_path, "server")


def refusal(certificate: Path, key: Path, client_ca: Path | None = None) -> str:
    with pytest.raises(ProblemsFound) as found:
        load_material(Tls(certificate=certificate, key=key, client_ca=client_ca))
    (problem,) = found.value.problems
    assert problem.how
    return str(problem)


def test_a_missing_certificate_is_named(tmp_path: Path, pair: Pair) -> None:
    missing = tmp_path / "missing.pem"
    assert refusal(missing, pair.key).startswith(f"{missing}: tls.certificate cannot be read: No such file")


def test_a_missing_key_is_named(tmp_path: Path, pair: Pair) -> None:
    missing = tmp_path / "missing.key"
    assert refusal(pair.certificate, missing).startswith(f"{missing}: tls.key cannot be read: No such file")


def test_a_missing_authority_is_named(tmp_path: Path, pair: Pair) -> None:
    missing = tmp_path / "missing.pem"
    assert refusal(pair.certificate, pair.key, missing).startswith(f"{missing}: tls.client_ca cannot be read")


def test_a_key_of_another_certificate_does_not_match(tmp_path: Path, authority: trustme.CA, pair: Pair) -> None:
    other = write_pair(authority.issue_cert("other.test"), tmp_path, "other")
    assert "tls.key does not match tls.certificate" in refusal(pair.certificate, other.key)


def test_files_in_each_others_place_are_told(pair: Pair) -> None:
    assert "tls.certificate holds no certificate" in refusal(pair.key, pair.certificate)


def test_an_encrypted_key_is_a_problem_and_no_question(tmp_path: Path, pair: Pair) -> None:
    key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
    encrypted = tmp_path / "encrypted.key"
    encrypted.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    assert "tls.key cannot be used" in refusal(pair.certificate, encrypted)


def test_authorities_that_hold_no_certificate_are_a_problem(pair: Pair) -> None:
    assert "tls.client_ca holds no certificate" in refusal(pair.certificate, pair.key, pair.key)


@pytest.mark.parametrize(
    ("begins", "ends", "said"),
    [
        (timedelta(days=-30), timedelta(days=-1), "expired on"),
        (timedelta(days=-30), timedelta(days=3), "expires on"),
        (timedelta(days=1), timedelta(days=90), "is not valid before"),
    ],
)
def test_a_certificate_that_peers_refuse_now_or_soon_is_noted(
    authority: trustme.CA, tmp_path: Path, begins: timedelta, ends: timedelta, said: str
) -> None:
    now = datetime.now(UTC)
    issued = authority.issue_cert("server.test", not_before=now + begins, not_after=now + ends)
    pair = write_pair(issued, tmp_path, "server")
    certificate = load_material(Tls(certificate=pair.certificate, key=pair.key)).certificate
    (note,) = certificate.notes(now)
    assert said in note.what


def test_a_certificate_that_is_good_for_long_is_not_noted(pair: Pair) -> None:
    certificate = load_material(Tls(certificate=pair.certificate, key=pair.key)).certificate
    assert certificate.notes(datetime.now(UTC)) == []


def test_client_certificates_are_asked_for_as_configured(tmp_path: Path, authority: trustme.CA, pair: Pair) -> None:
    ca = authority_file(authority, tmp_path / "ca.pem")

    def mode(client_ca: Path | None, required: bool) -> ssl.VerifyMode:
        tls = Tls(certificate=pair.certificate, key=pair.key, client_ca=client_ca, require_client_certificate=required)
        return load_material(tls).context.verify_mode

    assert mode(None, False) is ssl.CERT_NONE
    assert mode(ca, False) is ssl.CERT_OPTIONAL
    assert mode(ca, True) is ssl.CERT_REQUIRED


def test_files_are_loaded_once_they_have_settled(tmp_path: Path, authority: trustme.CA, pair: Pair) -> None:
    live = LiveMaterial(Tls(certificate=pair.certificate, key=pair.key))
    first = live.current
    live.poll()
    assert live.current is first
    renewed = authority.issue_cert("server.test")
    write_pair(renewed, tmp_path, "server")
    live.poll()
    assert live.current is first
    live.poll()
    assert live.current is not first
    assert (live.reloads, live.failures) == (1, 0)


def test_a_certificate_whose_key_comes_later_is_not_taken_for_a_broken_one(
    tmp_path: Path, authority: trustme.CA, pair: Pair
) -> None:
    live = LiveMaterial(Tls(certificate=pair.certificate, key=pair.key))
    elsewhere = tmp_path / "new"
    elsewhere.mkdir()
    renewed = write_pair(authority.issue_cert("server.test"), elsewhere, "server")
    os.replace(renewed.certificate, pair.certificate)
    live.poll()
    os.replace(renewed.key, pair.key)
    live.poll()
    live.poll()
    assert (live.reloads, live.failures) == (1, 0)


def test_a_link_that_is_turned_to_other_files_is_seen(tmp_path: Path, authority: trustme.CA) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        write_pair(authority.issue_cert("server.test"), tmp_path / name, "server")
    current = tmp_path / "current"
    current.symlink_to("old")
    live = LiveMaterial(Tls(certificate=current / "server.pem", key=current / "server.key"))
    (tmp_path / "next").symlink_to("new")
    (tmp_path / "next").rename(current)
    live.poll()
    live.poll()
    assert live.reloads == 1


def test_a_broken_file_is_tried_once_and_the_next_one_is_loaded(
    tmp_path: Path, authority: trustme.CA, pair: Pair
) -> None:
    live = LiveMaterial(Tls(certificate=pair.certificate, key=pair.key))
    first = live.current
    pair.certificate.unlink()
    for _ in range(4):
        live.poll()
    assert live.current is first
    assert (live.reloads, live.failures) == (0, 1)
    write_pair(authority.issue_cert("server.test"), tmp_path, "server")
    live.poll()
    live.poll()
    assert (live.reloads, live.failures) == (1, 1)


def test_files_are_relative_to_the_configuration_file(tmp_path: Path, pair: Pair) -> None:
    (tmp_path / "modelward.yaml").write_text(
        "repository: models\n"
        "tls: {certificate: server.pem, key: server.key}\n"
        "models: {m: {upstreams: ['a:1'], upstream_tls: {ca: ca.pem}}}\n"
    )
    (tmp_path / "models").mkdir()
    config = load(tmp_path / "modelward.yaml", environ={})
    assert config.tls is not None
    assert (config.tls.certificate, config.tls.key) == (pair.certificate, pair.key)
    upstream_tls = config.models["m"].upstream_tls
    assert upstream_tls is not None
    assert upstream_tls.ca == tmp_path / "ca.pem"
