"""`modelward infer` against a server that wants TLS and credentials."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from modelward.access import keys
from modelward.cli.app import main
from tests import models
from tests.certificates import authority_file, write_pair
from tests.support import EmbeddedServer, serving

INPUT = "x=[1, 2, 3, 4]"


class Secured:
    def __init__(self, server: EmbeddedServer, folder: Path, key: str) -> None:
        self.url = server.grpc.replace("127.0.0.1", "localhost")
        self.folder = folder
        self.key = key

    def infer(self, *more: str | Path, ca: str = "ca.pem") -> int:
        files = ("--ca", str(self.folder / ca), "--certificate", str(self.folder / "operator.pem"))
        mine = (*files, "--key", str(self.folder / "operator.key"))
        return main(["infer", "add", "--url", self.url, "--input", INPUT, "--json", *mine, *map(str, more)])


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    authority = trustme.CA()
    authority_file(authority, folder / "ca.pem")
    authority_file(trustme.CA(), folder / "other.pem")
    pair = write_pair(authority.issue_cert("localhost"), folder, "server")
    write_pair(authority.issue_cert("operator"), folder, "operator")
    kept, text = keys.make("team")
    with keys.editing(folder / "keys.json") as kept_keys:
        kept_keys[kept.id] = kept
    (folder / "key").write_text(text + "\n")
    tls = {"certificate": str(pair.certificate), "key": str(pair.key), "client_ca": str(folder / "ca.pem")}
    tls["require_client_certificate"] = "true"
    access = {"keys": str(folder / "keys.json"), "rules": [{"identity": "team", "models": "add"}]}
    written = json.dumps(tls).replace('"true"', "true")
    with serving(folder / "models", {"add": models.add_one()}, tls=written, access=json.dumps(access)) as server:
        yield Secured(server, folder, text)


def test_a_key_comes_from_a_file_or_the_environment_and_is_never_shown(
    secured: Secured, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert secured.infer() == 1
    assert "UNAUTHENTICATED" in capsys.readouterr().err
    assert secured.infer("--api-key", secured.folder / "key") == 0
    assert json.loads(capsys.readouterr().out)["outputs"][0]["data"] == [[2.0, 3.0, 4.0, 5.0]]
    monkeypatch.setenv("MODELWARD_API_KEY", secured.key)
    assert secured.infer() == 0
    assert secured.infer("--header", f"authorization: Bearer {secured.key}") == 2
    said = capsys.readouterr()
    assert "the header authorization is given as well" in said.err
    assert secured.key not in said.out + said.err


def test_a_server_of_another_authority_is_not_asked(secured: Secured, capsys: pytest.CaptureFixture[str]) -> None:
    assert secured.infer("--api-key", secured.folder / "key", "--timeout", "2s", ca="other.pem") == 1
    assert secured.key not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--certificate", "a"), "--certificate and --key come together"),
        (("--server-name", "a"), "add --tls"),
        (("--api-key", "/nowhere"), "--api-key cannot be read"),
        (("--header", "nothing"), "is not NAME:VALUE"),
    ],
)
def test_flags_that_mean_nothing_are_2(flags: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["infer", "add", "--input", INPUT, *flags]) == 2
    assert words in capsys.readouterr().err


def test_without_tls_against_a_server_that_wants_it_the_flags_are_named(
    secured: Secured, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["infer", "add", "--url", secured.url, "--input", INPUT, "--timeout", "3s"]) == 1
    assert "perhaps the server wants TLS: add --tls or --ca FILE" in capsys.readouterr().err
