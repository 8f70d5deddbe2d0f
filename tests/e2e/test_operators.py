"""Operators of a real server: who they are by a certificate, a token or a user of the machine, and what they may do."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from modelward.cli.app import main
from tests import models
from tests.certificates import authority_file, write_pair
from tests.support import serve_process
from tests.tokens import ISSUER, Issuer

SECONDS = 120.0
OTHER_UID, OTHER_GID = 54321, 54322

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


@dataclass
class Ended:
    returncode: int
    stdout: str
    stderr: str


def modelward(*arguments: str | Path, user: int | None = None) -> Ended:
    """Runs a command to its end: in this process, or in one of another user of the machine."""
    words = [*map(str, arguments)]
    if user is None:
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
            code = main(words)
        return Ended(code, out.getvalue(), err.getvalue())
    command = [
        "setpriv",
        f"--reuid={user}",
        f"--regid={OTHER_GID}",
        "--clear-groups",
        sys.executable,
        "-m",
        "modelward",
    ]
    environment = {**os.environ, "NO_COLOR": "1", "HOME": "/nonexistent"}
    ended = subprocess.run(
        [*command, *words], capture_output=True, text=True, timeout=SECONDS, check=False, env=environment
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def told(*arguments: str | Path, user: int | None = None) -> Any:
    ended = modelward(*arguments, "--json", user=user)
    assert ended.stderr == ""
    return json.loads(ended.stdout)


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that other users can enter."""
    with tempfile.TemporaryDirectory(prefix="modelward-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture
def root(folder: Path) -> Path:
    return models.repository(folder / "models", {"fraud-a": {1: models.add_one()}, "other": {1: models.add_one()}})


def configured(folder: Path, root: Path, text: str) -> Path:
    file = folder / "modelward.yaml"
    file.write_text(f"repository: {root}\nwatch: false\n{text}")
    return file


@needs_root
def test_users_of_the_machine_may_do_what_their_bindings_say(folder: Path, root: Path) -> None:
    admin = f"unix:{folder}/admin.sock"
    bindings = f"""operators:
  bindings:
    - {{user: {os.getuid()}, roles: [administrator, operator]}}
    - {{group: {OTHER_GID}, roles: [viewer], models: ["fraud-*"]}}
"""
    config = configured(folder, root, bindings)
    with serve_process("--config", config, "--set", f"listen.admin={admin}") as server:
        at = ("--admin", admin)
        me = told("whoami", *at)
        assert (me["proof"], [each["roles"] for each in me["grants"]]) == ("socket", [["administrator", "operator"]])
        them = told("whoami", *at, user=OTHER_UID)
        assert (them["name"], them["proof"], them["configured"]) == (f"uid {OTHER_UID}", "socket", True)
        assert them["grants"] == [{"binding": f"group {OTHER_GID}", "roles": ["viewer"], "models": ["fraud-*"]}]
        seen = told("status", *at, user=OTHER_UID)
        assert [each["name"] for each in seen["models"]] == ["fraud-a"]
        assert [each["name"] for each in told("status", *at)["models"]] == ["fraud-a", "other"]
        denied = modelward("restart", *at, user=OTHER_UID)
        assert denied.returncode == 1
        assert f"restart is not allowed: uid {OTHER_UID} has viewer, which is not enough" in denied.stderr
        assert f"It takes operator: ask user {os.getuid()}" in denied.stderr
        assert modelward("can-i", "restart", *at).returncode == 0
        no = modelward("can-i", "promote", "fraud-a", *at)
        assert (no.returncode, "it takes deployer" in no.stdout) == (1, True)
        config.write_text(config.read_text().replace("roles: [viewer]", "roles: [viewer, operator]"))
        assert modelward("reload", *at).returncode == 0
        assert told("whoami", *at, user=OTHER_UID)["grants"][0]["roles"] == ["viewer", "operator"]
        assert server.metric("modelward_operator_calls_denied_total", verb="restart", cause="denied") == 1
        drained = modelward("drain", "--wait", *at)
        assert (drained.returncode, "draining: not ready any more; 0 requests" in drained.stdout) == (0, True)
        assert server.process.wait(SECONDS) == 0


def test_certificates_and_tokens_name_operators_and_only_administrators_change_bindings(tmp_path: Path) -> None:
    root = models.repository(tmp_path / "models", {"fraud-a": {1: models.add_one()}})
    authority = trustme.CA()
    ca = authority_file(authority, tmp_path / "ca.pem")
    ours = write_pair(authority.issue_cert("localhost"), tmp_path, "server")
    pairs = {
        name: write_pair(authority.issue_cert(f"{name}.example"), tmp_path, name) for name in ("ann", "bob", "eve")
    }
    issuer = Issuer()
    issuer.add_key("one")
    jwks = issuer.publish(tmp_path / "keys.json")
    token = tmp_path / "token"
    token.write_text(issuer.token("ci", aud="admin"))
    text = f"""listen: {{admin: "127.0.0.1:0"}}
admin_tls: {{certificate: {ours.certificate}, key: {ours.key}, client_ca: {ca}}}
operators:
  tokens: [{{issuer: {ISSUER}, audience: admin, jwks: {jwks}}}]
  bindings:
    - {{token: ci, roles: [deployer], models: ["fraud-*"]}}
    - {{certificate: ann.example, roles: [administrator, deployer]}}
    - {{certificate: bob.example, roles: [operator]}}
"""
    config = configured(tmp_path, root, text)
    with serve_process("--config", config) as server:
        address = f"localhost:{server.admin.rpartition(':')[2]}"
        of = {
            name: ("--admin", address, "--ca", ca, "--certificate", pair.certificate, "--key", pair.key)
            for name, pair in pairs.items()
        }
        me = told("whoami", *of["bob"])
        assert (me["name"], me["proof"], me["origin"].rpartition(":")[0]) == ("bob.example", "certificate", "127.0.0.1")
        assert "trustme" in me["issuer"]
        by_token = told("whoami", "--admin", address, "--ca", ca, "--token", token)
        assert (by_token["name"], by_token["proof"]) == ("ci", "token"), "no certificate is needed"
        assert told("whoami", *of["bob"], "--token", token)["name"] == "ci", "what is sent counts before the connection"
        assert modelward("status", *of["eve"]).returncode == 1
        config.write_text(config.read_text() + "    - {certificate: eve.example, roles: [operator]}\n")
        refused = modelward("reload", *of["bob"])
        assert (refused.returncode, "takes the verb bindings" in refused.stderr) == (1, True)
        assert told("whoami", *of["eve"])["grants"] == []
        assert modelward("reload", *of["ann"]).returncode == 0
        assert told("whoami", *of["eve"])["grants"][0]["roles"] == ["operator"]
        assert modelward("reload", *of["bob"]).returncode == 0, "nothing of operators differs any more"


def test_a_token_names_the_operator_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = models.repository(tmp_path / "models", {"fraud-a": {1: models.add_one()}})
    issuer = Issuer()
    issuer.add_key("one")
    jwks = issuer.publish(tmp_path / "keys.json")
    text = f"""operators:
  tokens: [{{issuer: {ISSUER}, audience: admin, jwks: {jwks}}}]
  bindings: [{{token: "*@example.com", roles: [viewer]}}]
"""
    config = configured(tmp_path, root, text)
    with serve_process("--config", config) as server:
        at = ("--admin", server.admin)
        token = issuer.token("ann@example.com", aud="admin")
        file = tmp_path / "token"
        file.write_text(f"{token}\n")
        me = told("whoami", *at, "--token", file)
        assert (me["name"], me["proof"], me["issuer"]) == ("ann@example.com", "token", ISSUER)
        with monkeypatch.context() as environment:
            environment.setenv("MODELWARD_OPERATOR_TOKEN", token)
            assert told("whoami", *at) | {"origin": ""} == me | {"origin": ""}
        shown = modelward("can-i", "--list", *at, "--token", file)
        assert shown.returncode == 0
        assert "see the state of the server" in shown.stdout
        without = modelward("status", *at)
        assert (without.returncode, "no credential: send a token" in without.stderr) == (1, True)
        file.write_text(issuer.token("ann@example.com", aud="models"))
        wrong = modelward("status", *at, "--token", file)
        assert (wrong.returncode, "the token is refused: its audience is another" in wrong.stderr) == (1, True)
        file.write_text("two tokens")
        broken = modelward("status", *at, "--token", file)
        assert (broken.returncode, "does not hold one token" in broken.stderr) == (1, True)
        misspelt = modelward("can-i", "promot", *at)
        assert (misspelt.returncode, "Did you mean promote?" in misspelt.stderr) == (2, True)
        assert any("tokens come to" in line for line in server.output)
