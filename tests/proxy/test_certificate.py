"""Files of TLS and of token issuers: who else may read or write them."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from modelward.access.key_sets import load_file
from modelward.certificate import load_authorities, load_pair, utc_now
from modelward.cli.app import main
from modelward.config.access import Jwt
from modelward.problem import ProblemsFound
from tests import models
from tests.certificates import Pair, authority_file, write_pair
from tests.tokens import Issuer


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return write_pair(trustme.CA().issue_cert("localhost"), tmp_path, "server")


def context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def notes(pair: Pair) -> list[str]:
    loaded = load_pair(context(), "tls", pair.certificate, pair.key)
    return [str(note) for note in loaded.notes(utc_now()) if "expires" not in str(note)]


@pytest.mark.parametrize("which", ["certificate", "key"])
def test_a_pair_that_anybody_may_write_is_refused(pair: Pair, which: str) -> None:
    file: Path = getattr(pair, which)
    file.chmod(0o602)
    with pytest.raises(ProblemsFound, match=rf"tls\.{which} can be written by anybody.*chmod o-w"):
        load_pair(context(), "tls", pair.certificate, pair.key)


def test_authorities_and_key_sets_that_anybody_may_write_are_refused(tmp_path: Path) -> None:
    ca = authority_file(trustme.CA(), tmp_path / "ca.pem")
    ca.chmod(0o666)
    with pytest.raises(ProblemsFound, match=r"tls\.client_ca can be written by anybody"):
        load_authorities(context(), "tls.client_ca", ca)
    issuer = Issuer()
    issuer.add_key("one")
    jwks = issuer.publish(tmp_path / "jwks.json")
    Path(jwks).chmod(0o666)
    with pytest.raises(ProblemsFound, match=r"access\.jwt\.jwks can be written by anybody"):
        load_file(Jwt(issuer="https://issuer.test", audience=("modelward",), jwks=str(jwks)))


@pytest.mark.parametrize(
    ("mode", "words"),
    [(0o600, []), (0o400, []), (0o440, []), (0o644, ["read by anybody"]), (0o660, ["written by its group"])],
)
def test_a_key_that_others_have_a_hold_on_is_a_note(pair: Pair, mode: int, words: list[str]) -> None:
    pair.key.chmod(mode)
    found = notes(pair)
    assert len(found) == len(words)
    assert all(word in note for word, note in zip(words, found, strict=True))


def test_check_tells_of_both(tmp_path: Path, pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    root = models.repository(tmp_path / "models", {"add": models.add_one()})
    tls = f"tls={{certificate: {pair.certificate}, key: {pair.key}}}"
    pair.key.chmod(0o644)
    assert main(["check", str(root), "--json", "--set", tls]) == 0
    assert "tls.key can be read by anybody" in str(json.loads(capsys.readouterr().out)["notes"])
    pair.key.chmod(0o646)
    assert main(["check", str(root), "--json", "--set", tls]) == 1
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert (problem["what"], problem["how"]) == ("tls.key can be written by anybody", f"chmod o-w {pair.key}")


def test_a_key_that_cannot_be_read_is_told_in_words(pair: Pair, tmp_path: Path) -> None:
    key = load_pem_private_key(pair.key.read_bytes(), None)
    cipher = BestAvailableEncryption(b"secret")
    encrypted = tmp_path / "encrypted.pem"
    encrypted.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, cipher))
    (tmp_path / "none.pem").write_text("no key")
    for file, why in ((encrypted, "it is encrypted"), (tmp_path / "none.pem", "it is no PEM key")):
        with pytest.raises(ProblemsFound) as found:
            load_pair(context(), "tls", pair.certificate, file)
        assert [problem.why for problem in found.value.problems] == [why]
