"""Operators of a real server: who they are by a certificate, a token or a user of the machine, and what they may do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import grpc
import numpy as np
import pytest
import trustme

from tests import models
from tests.certificates import authority_file, write_pair
from tests.commands import modelward
from tests.e2e.messages import Stub, refused, request
from tests.support import ServerProcess, serve_process
from tests.tokens import ISSUER, Issuer

SECONDS = 120.0
OTHER_UID, OTHER_GID = 54321, 54322

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


AS_ANOTHER = """
import json, sys
from tests.commands import modelward
ended = [modelward(*words) for words in json.loads(sys.argv[1])]
print(json.dumps([[each.returncode, each.stdout, each.stderr] for each in ended]))
"""


def as_another(*commands: Sequence[str]) -> list[CompletedProcess[str]]:
    """Each run to its end by another user of the machine."""
    user = ["setpriv", f"--reuid={OTHER_UID}", f"--regid={OTHER_GID}", "--clear-groups"]
    ended = subprocess.run(
        [*user, sys.executable, "-c", AS_ANOTHER, json.dumps(commands)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env={**os.environ, "HOME": "/nonexistent"},
    )
    assert ended.returncode == 0, ended.stderr
    return [CompletedProcess([*words], *each) for words, each in zip(commands, json.loads(ended.stdout), strict=True)]


def answer(ended: CompletedProcess[str]) -> Any:
    assert ended.stderr == ""
    return json.loads(ended.stdout)


def told(*arguments: str | Path) -> Any:
    return answer(modelward(*arguments, "--json"))


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
models:
  fraud-a: {{detection: {{mode: observe}}}}
  other: {{detection: {{mode: observe}}}}
"""
    config = configured(folder, root, bindings)
    with serve_process("--config", config, "--set", f"listen.admin={admin}") as server:
        at = ("--admin", admin)
        me = told("whoami", *at)
        assert (me["proof"], [each["roles"] for each in me["grants"]]) == ("socket", [["administrator", "operator"]])
        asked = (["whoami", *at, "--json"], ["status", *at, "--json"], ["restart", *at])
        who, shown, denied = as_another(*asked)
        them, seen = answer(who), answer(shown)
        assert (them["name"], them["proof"], them["configured"]) == (f"uid {OTHER_UID}", "socket", True)
        assert them["grants"] == [{"binding": f"group {OTHER_GID}", "roles": ["viewer"], "models": ["fraud-*"]}]
        assert [each["name"] for each in seen["models"]] == ["fraud-a"]
        assert [each["name"] for each in told("status", *at)["models"]] == ["fraud-a", "other"]
        assert denied.returncode == 1
        assert f"restart is not allowed: uid {OTHER_UID} has viewer, which is not enough" in denied.stderr
        assert f"It takes operator: ask user {os.getuid()}" in denied.stderr
        assert modelward("can-i", "restart", *at).returncode == 0
        no = modelward("can-i", "promote", "fraud-a", *at)
        assert (no.returncode, "it takes deployer" in no.stdout) == (1, True)
        config.write_text(config.read_text().replace("roles: [viewer]", "roles: [viewer, operator]"))
        assert modelward("reload", *at).returncode == 0
        (who,) = as_another(["whoami", *at, "--json"])
        assert answer(who)["grants"][0]["roles"] == ["viewer", "operator"]
        assert server.metric("modelward_operator_calls_denied_total", verb="restart", cause="denied") == 1
        is_no_way_around_what_holds_for_all(server, at)
        drained = modelward("drain", "--wait", *at)
        assert (drained.returncode, "draining: not ready any more; 0 requests" in drained.stdout) == (0, True)
        assert server.process.wait(SECONDS) == 0


def is_no_way_around_what_holds_for_all(server: ServerProcess, at: tuple[str, str]) -> None:
    """An operator of one model sees and weakens no restriction for all models, nor one of another model."""
    restrict = ("identities", "restrict", "127.0.0.1", "--step")
    assert modelward(*restrict, "block", *at).returncode == 0
    assert modelward(*restrict, "round", "--model", "other", *at).returncode == 0
    (theirs,) = as_another([*restrict, "tag", "--model", "fraud-a", *at, "--json"])
    assert [(each["model"], each["step"]) for each in answer(theirs)["restrictions"]] == [("fraud-a", "tag")]
    asked = request("fraud-a", {"x": np.zeros((1, 4), np.float32)})
    with Stub(server.grpc) as stub:
        assert refused(stub, asked).code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert modelward(*restrict, "tag", "--model", "fraud-a", *at).returncode == 0
        assert stub.infer(asked).outputs


@dataclass
class Place:
    """A server with TLS, operators with certificates, and an issuer of tokens. of: what a command of each takes."""

    config: Path
    issuer: Issuer
    bindings: str
    at: tuple[str | Path, ...]
    of: dict[str, tuple[str | Path, ...]]

    def token(self, subject: str, audience: str = "admin") -> Path:
        file = self.config.parent / f"token-of-{subject}-for-{audience}"
        file.write_text(f"{self.issuer.token(subject, aud=audience)}\n")
        return file


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("operators")
    root = models.repository(folder / "models", {"fraud-a": {1: models.add_one()}})
    authority = trustme.CA()
    ca = authority_file(authority, folder / "ca.pem")
    ours = write_pair(authority.issue_cert("localhost"), folder, "server")
    pairs = {name: write_pair(authority.issue_cert(f"{name}.example"), folder, name) for name in ("ann", "bob", "eve")}
    issuer = Issuer()
    issuer.add_key("one")
    bindings = f"""listen: {{admin: "127.0.0.1:0"}}
admin_tls: {{certificate: {ours.certificate}, key: {ours.key}, client_ca: {ca}}}
operators:
  tokens: [{{issuer: {ISSUER}, audience: admin, jwks: {issuer.publish(folder / "keys.json")}}}]
  bindings:
    - {{token: ci, roles: [deployer], models: ["fraud-*"]}}
    - {{token: "*@example.com", roles: [viewer]}}
    - {{certificate: ann.example, roles: [administrator, deployer]}}
    - {{certificate: bob.example, roles: [operator]}}
"""
    config = configured(folder, root, bindings)
    with serve_process("--config", config, "--set", "workers=1") as server:
        at = ("--admin", f"localhost:{server.admin.rpartition(':')[2]}", "--ca", ca)
        of = {name: (*at, "--certificate", pair.certificate, "--key", pair.key) for name, pair in pairs.items()}
        yield Place(config, issuer, config.read_text(), at, of)


def test_certificates_and_tokens_name_operators_and_only_administrators_change_bindings(place: Place) -> None:
    of, token = place.of, place.token("ci")
    if place.config.read_text() != place.bindings:  # it is run a second time
        place.config.write_text(place.bindings)
        assert modelward("reload", *of["ann"]).returncode == 0
    me = told("whoami", *of["bob"])
    assert (me["name"], me["proof"], me["origin"].rpartition(":")[0]) == ("bob.example", "certificate", "127.0.0.1")
    assert "trustme" in me["issuer"]
    by_token = told("whoami", *place.at, "--token", token)
    assert (by_token["name"], by_token["proof"]) == ("ci", "token"), "no certificate is needed"
    assert told("whoami", *of["bob"], "--token", token)["name"] == "ci", "what is sent counts before the connection"
    flags = zip(of["ann"][::2], of["ann"][1::2], strict=True)
    variables = {f"MODELWARD_{str(flag)[2:].upper()}": str(value) for flag, value in flags}
    assert answer(modelward("whoami", "--json", **variables))["name"] == "ann.example"
    assert answer(modelward("whoami", "--json", *of["bob"], **variables))["name"] == "bob.example", "flags count first"
    nowhere = modelward("whoami", MODELWARD_ADMIN="nowhere")
    assert (nowhere.returncode, "$MODELWARD_ADMIN" in nowhere.stderr) == (2, True)
    assert modelward("status", *of["eve"]).returncode == 1
    place.config.write_text(place.bindings + "    - {certificate: eve.example, roles: [operator]}\n")
    refused = modelward("reload", *of["bob"])
    assert (refused.returncode, "takes the verb bindings" in refused.stderr) == (1, True)
    assert told("whoami", *of["eve"])["grants"] == []
    assert modelward("reload", *of["ann"]).returncode == 0
    assert told("whoami", *of["eve"])["grants"][0]["roles"] == ["operator"]
    assert modelward("reload", *of["bob"]).returncode == 0, "nothing of operators differs any more"
    without = place.bindings[: place.bindings.index("operators:")]
    place.config.write_text(without)
    refused = modelward("reload", *of["bob"])
    assert (refused.returncode, "operators differ" in refused.stderr) == (1, True), "a restart would follow it"
    assert "operators differs and takes effect after a restart" in modelward("reload", *of["ann"]).stdout
    assert modelward("reload", *of["bob"]).returncode == 0, "the administrator has taken it"
    for words in (["status"], ["whoami"], ["can-i", "status"]):
        assert "needs a restart of the server: operators: changed in" in modelward(*words, *of["bob"]).stdout
    assert told("whoami", *of["bob"])["grants"][0]["roles"] == ["operator"], "until then"
    place.config.write_text(place.bindings)
    assert modelward("reload", *of["ann"]).returncode == 0
    assert "needs a restart of the server" not in modelward("status", *of["bob"]).stdout


def test_a_token_names_the_operator_from_a_file_or_the_environment(place: Place) -> None:
    at, file = place.at, place.token("ann@example.com")
    me = told("whoami", *at, "--token", file)
    assert (me["name"], me["proof"], me["issuer"]) == ("ann@example.com", "token", ISSUER)
    by_environment = modelward("whoami", *at, "--json", MODELWARD_OPERATOR_TOKEN=file.read_text().strip())
    assert answer(by_environment) | {"origin": ""} == me | {"origin": ""}
    shown = modelward("can-i", "--list", *at, "--token", file)
    assert shown.returncode == 0
    assert "see the state of the server" in shown.stdout
    wrong = modelward("status", *at, "--token", place.token("ann@example.com", "models"))
    assert (wrong.returncode, "its audience is another: admin is expected" in wrong.stderr) == (1, True)
    assert "--token FILE" not in wrong.stderr, "it was given"
    file.write_text("two tokens")
    broken = modelward("status", *at, "--token", file)
    assert (broken.returncode, "does not hold one token" in broken.stderr) == (1, True)
    misspelt = modelward("can-i", "promot", *at)
    assert (misspelt.returncode, "Did you mean promote?" in misspelt.stderr) == (2, True)
