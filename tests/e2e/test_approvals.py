"""Four eyes on a real server: what one operator asks for and others approve, through restarts, races, changed files."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import numpy as np
import pytest
import trustme

from modelward.cli.app import main
from tests import models
from tests.certificates import authority_file, write_pair
from tests.commands import modelward
from tests.e2e.messages import Stub, request
from tests.e2e.test_promotion import answers
from tests.e2e.test_version_policy import arrive
from tests.support import ServerProcess, serve_process, wait_until

PROPOSED = 4
REASON = ("--force", "--reason", "a test")
BINDINGS = """operators:
  break_glass: [operator]
  bindings:
    - {certificate: dan, roles: [deployer]}
    - {certificate: ada, roles: [approver, deployer]}
    - {certificate: bob, roles: [approver]}
    - {certificate: sam, roles: [operator, deployer]}
"""
APPROVALS = "approvals: {promote: 1, force: 1, reload: 1, rollback: 1}"


class Ended(NamedTuple):
    """A command."""

    returncode: int
    stdout: str
    stderr: str


@dataclass
class House:
    """A configuration, a repository, and people with certificates. extra: more lines of the configuration."""

    folder: Path
    flags: dict[str, tuple[str | Path, ...]] = field(default_factory=dict)
    server: ServerProcess | None = None

    @property
    def config(self) -> Path:
        return self.folder / "modelward.yaml"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def root(self) -> Path:
        return self.folder / "models"

    def write(self, approvals: str = APPROVALS, more: str = "") -> None:
        tls = (
            f"{{certificate: {self.folder}/server.pem, key: {self.folder}/server.key, client_ca: {self.folder}/ca.pem}}"
        )
        beside = self.config.with_suffix(".new")
        beside.write_text(
            f"repository: {self.root}\nlisten: {{admin: '127.0.0.1:0'}}\nadmin_tls: {tls}\n"
            f"{BINDINGS}{approvals}\n{more}"
        )
        os.replace(beside, self.config)

    @contextlib.contextmanager
    def serving(self) -> Iterator[ServerProcess]:
        with serve_process("--config", self.config, "--set", f"state={self.state}") as self.server:
            yield self.server

    def command(self, who: str, *words: str | Path) -> list[str | Path]:
        assert self.server is not None
        address = f"localhost:{self.server.admin.rpartition(':')[2]}"
        return [*words, "--admin", address, *self.flags[who]]

    def run(self, who: str, *words: str | Path) -> Ended:
        """The command in this process: starting Python takes longer than all the rest."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([*map(str, self.command(who, *words))])
        assert "Traceback" not in err.getvalue(), err.getvalue()
        return Ended(code, out.getvalue(), err.getvalue())

    def told(self, number: int) -> Any:
        ended = self.run("ada", "proposals", str(number), "--json")
        (proposal,) = json.loads(ended.stdout)["proposals"]
        return proposal

    def state_of(self, number: int) -> str:
        return str(self.told(number)["state"])

    def start(self, who: str, *words: str | Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "modelward", *map(str, self.command(who, *words))])

    def propose(self, who: str = "dan", model: str = "add") -> str:
        ended = self.run(who, "promote", model, "2", "--steps", "100", *REASON)
        assert ended.returncode == PROPOSED, ended.stderr
        return ended.stdout


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = House(tmp_path)
    versions = {1: models.add_one(), 2: models.add_one()}
    models.repository(house.root, {name: versions for name in ("add", "other", "third")})
    authority = trustme.CA()
    ca = authority_file(authority, tmp_path / "ca.pem")
    write_pair(authority.issue_cert("localhost"), tmp_path, "server")
    for name in ("dan", "ada", "bob", "sam"):
        pair = write_pair(authority.issue_cert(name), tmp_path, name)
        house.flags[name] = ("--ca", ca, "--certificate", pair.certificate, "--key", pair.key)
    house.write()
    return house


def test_a_promotion_waits_for_another_and_what_was_approved_is_what_is_served(house: House, tmp_path: Path) -> None:
    with house.serving() as server:
        assert answers(server, 20).keys() == {"1"}, "the newest waits for a promotion"
        says = "version_policy newest acts as promoted"
        told = f"add: {says}, since promotions need approvals: modelward promote add VERSION"
        assert told in house.run("bob", "status").stdout
        assert any(f"model add: {says}" in line for line in server.output), "READY says so"
        checked = modelward("check", "--config", house.config, "--set", f"state={house.state}")
        assert f"note: {says}\n  where: model add\n" in checked.stderr
        assert "proposal 1 waits for 1 approval; modelward approve 1" in house.propose("ada")
        assert "1 proposal waits: modelward proposals" in house.run("bob", "status").stdout
        shown = house.run("bob", "proposals", "1").stdout
        assert all(
            words in shown for words in ("promote add 2 from 0 to ", " % --force", "sha256:", "a test", "0 of 1")
        )
        alone = house.run("ada", "approve", "1")
        assert (alone.returncode, "ada has proposed it" in alone.stderr) == (1, True)
        assert house.run("dan", "approve", "1").returncode == 1, "no role for it"
        assert answers(server, 20).keys() == {"1"}
        # another file in its place
        shutil.copy(models.repository(tmp_path / "other", {"add": {1: models.add_one_below(9)}}) / "add/1/model.onnx",
                    house.root / "add/2/model.onnx")  # fmt: skip
        digest = house.told(1)["digest"]
        wait_until(lambda: "has another file" in "".join(server.output), "the other file is loaded")
        changed = house.run("bob", "approve", "1")
        assert (changed.returncode, f"they were {digest}" in changed.stderr) == (1, True)
        assert house.state_of(1) == "void"
        house.propose()
        race = [house.start(who, "approve", "2") for who in ("ada", "bob")]
        assert sorted(each.wait(60) for each in race) == [0, 1], "one of them was the last that was needed"
        assert answers(server, 20).keys() == {"2"}
        again = house.run("ada", "approve", "2")
        assert (again.returncode, "it is done" in again.stderr) == (1, True)
        words = ("audit", "query", "--proposal", "2", "--verb", "force", "--state", house.state, "--json")
        asked, done = (json.loads(line) for line in modelward(*words).stdout.splitlines())
        assert [(each["result"], each["actor"]["name"]) for each in (asked, done)] == [
            ("asked", "dan"),
            ("done", "dan"),
        ]
        assert done["approvals"] in (["ada"], ["bob"])
        assert done["after"]["shares"] == {"2": 10_000}
        assert house.run("dan", "rollback", "add").returncode == PROPOSED
        assert house.run("bob", "reject", "3", "--reason", "not today").returncode == 0
        late = house.run("ada", "approve", "3")
        assert (late.returncode, "it is rejected: not today" in late.stderr) == (1, True)
        assert house.run("dan", "rollback", "add").returncode == PROPOSED
        theirs = house.run("bob", "withdraw", "4", "--reason", "mine")
        assert (theirs.returncode, "dan has proposed it" in theirs.stderr) == (1, True)
        assert house.run("dan", "withdraw", "4", "--reason", "a mistake").returncode == 0
        assert (house.state_of(4), house.told(4)["why"]) == ("withdrawn", "a mistake")
        assert house.run("ada", "approve", "4").returncode == 1
        assert answers(server, 20).keys() == {"2"}
        assert house.run("dan", "rollback", "add").returncode == PROPOSED
        assert "add 2 was rolled back" in house.run("ada", "approve", "5").stdout
        assert answers(server, 20).keys() == {"1"}
        assert named(server, "add", "2").startswith("NOT_FOUND"), "taken back: it does not take over by itself"


def named(server: ServerProcess, model: str, version: str = "") -> str:
    """Which version answers; else the reason why none does."""
    with Stub(server.grpc) as stub:
        try:
            asked = request(model, {"x": np.full((1, 4), 3, np.float32)}, version=version)
            return str(stub.infer(asked).model_version)
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"


def test_versions_in_the_configuration_and_missing_folders_bring_no_version_into_service(house: House) -> None:
    with house.serving() as server:
        house.write(more="models: {add: {versions: {2: 1}}}")
        wait_until(lambda: house.run("dan", "reload", "--reason", "version 2").returncode == PROPOSED, "the change")
        waits = "models.add.versions: 2: no share before a promotion, which needs approvals"
        assert waits in house.run("bob", "proposals", "1").stdout
        assert house.run("bob", "approve", "1").returncode == 0
        assert answers(server, 20).keys() == {"1"}, "it waits for a promotion"
        assert waits in "".join(server.output)
        refused = json.loads(house.run("ada", "status", "--json").stdout)["refused"]
        assert [(each["name"], each["version"]) for each in refused] == [("add", "2")]
        house.propose()
        house.propose(model="other")
        for number in ("2", "3"):
            assert house.run("bob", "approve", number).returncode == 0
        assert answers(server, 20).keys() == {"2"}
    (house.root / "other" / "2").rename(house.folder / "aside")
    with house.serving() as server:
        assert named(server, "add") == "2"
        assert named(server, "other").startswith("UNAVAILABLE: no version"), (
            "an older approved version does not take its place"
        )
        assert "ERROR modelward.promotion model other: no version answers: version 2 should" in "".join(server.output)
        (refused,) = json.loads(house.run("ada", "status", "--json").stdout)["refused"]
        assert (refused["name"], refused["problems"][0]["what"]) == ("other", "no version answers")
        assert house.run("dan", "rollback", "other", "--reason", "it is gone").returncode == PROPOSED
        assert house.run("bob", "approve", "4").returncode == 0
        assert named(server, "other") == "1"


def test_broken_glass_acts_at_once_and_outlives_kill_9_like_proposals_which_are_executed_once(house: House) -> None:
    file, written = house.state / "proposals.json", house.state / "promotions.json"
    glass = ("promote", "third", "2", "--steps", "100", "--force", "--break-glass")
    with house.serving() as server:
        house.propose(model="other")
        assert house.run("dan", *glass, "--reason", "mine").returncode == 1, "no role for it"
        assert house.run("sam", *glass).returncode == 1, "no reason"
        done = house.run("sam", *glass, "--reason", "incident 8")
        assert (done.returncode, done.stderr, "modelward review 2" in done.stdout) == (0, "", True)
        assert named(server, "third") == "2"
        assert server.metric("modelward_break_glass_unreviewed") == 1
        server.signal_all(signal.SIGKILL)
    # killed after the approval was written, and before it was executed
    book = json.loads(file.read_text())
    approval = {"by": {"name": "bob", "proof": "certificate"}, "at": 1.0}
    book["proposals"][0] |= {"state": "executing", "approvals": [approval]}
    file.write_text(json.dumps(book))
    with house.serving() as server:
        wait_until(lambda: house.state_of(1) == "done", "the approved proposal to be executed")
        assert '"proposal": 1' in written.read_text()
        wait_until(lambda: server.metric("modelward_break_glass_unreviewed") == 1, "a restart to know of it")
        wait_until(lambda: "not reviewed yet: proposal 2 by sam" in "".join(server.output), "an error in the log")
        assert "not reviewed" in house.run("bob", "proposals").stdout
        assert house.run("sam", "review", "2", "--reason", "fine").returncode == 1
        assert house.run("bob", "review", "2", "--reason", "it was needed").returncode == 0
        assert server.metric("modelward_break_glass_unreviewed") == 0
        house.propose()
        # killed while it is executed: the workers do not answer any more
        for pid in server.workers():
            os.kill(pid, signal.SIGSTOP)
        approving = house.start("bob", "approve", "3")
        wait_until(lambda: '"proposal": 3' in written.read_text(), "the execution to be written")
        server.signal_all(signal.SIGKILL)
        assert approving.wait(60) != 0
    assert json.loads(file.read_text())["proposals"][2]["state"] == "executing"
    before = [each for each in json.loads(written.read_text())["events"] if each["model"] == "add"]
    with house.serving() as server:
        wait_until(lambda: house.state_of(3) == "done", "what was executed to be known")
        assert answers(server, 20).keys() == {"2"}
    assert [each for each in json.loads(written.read_text())["events"] if each["model"] == "add"] == before, "once"


def test_the_first_line_of_the_log_is_as_the_configuration_has_it(tmp_path: Path) -> None:
    (tmp_path / "modelward.yaml").write_text(
        f"listen: {{grpc: 127.0.0.1:0, http: 127.0.0.1:0, admin: 'unix:{tmp_path}/admin.sock'}}\n"
        "log: {format: json}\noperators: {bindings: [{user: 0, roles: [administrator]}]}\napprovals: {}\n"
        "upstreams: ['127.0.0.1:1']\nhealth: {startup: 10ms}\n"
    )
    command = [sys.executable, "-m", "modelward", "serve", "--config", str(tmp_path / "modelward.yaml")]
    environment = os.environ | {"STATE_DIRECTORY": str(tmp_path / "state")}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    first = json.loads(ended.stderr.splitlines()[0])
    assert first["message"].startswith("the configuration is taken as approved")


def test_a_changed_configuration_waits_at_a_reload_and_at_a_start(house: House) -> None:
    limit = "limits: {streams: 77}"
    with house.serving() as server:
        assert "the configuration is taken as approved, since none was before: sha256:" in "".join(server.output)
        # the approvals themselves, too, and where what was approved is looked for
        house.write("approvals: {promote: 0, reload: 0}", f"{limit}\nstate: {house.folder}/another")
        wait_until(lambda: house.run("bob", "proposals", "1").returncode == 0, "the change to be found")
        shown = house.run("bob", "proposals", "1").stdout
        assert f"+{limit}" in shown
        claimed = house.run("ada", "reload", "--reason", "more streams")
        assert (claimed.returncode, "proposal 1 waits for 1 approval" in claimed.stdout) == (PROPOSED, True)
        told = house.run("bob", "status").stdout
        assert "configuration: the files on disk are not what is served: they wait for proposal 1" in told
        assert "\napprovals: promote" in told
        assert "with 1 approval: " in house.run("ada", "can-i", "promote").stdout
        assert "bindings is not allowed" in house.run("bob", "approve", "1").stderr, "it changes who may do what"
        arrive(house.root, 3, house.folder / "beside")
        wait_until(lambda: "version 3 is new" in "".join(server.output), "files of models are followed meanwhile")
    with house.serving() as server:
        assert house.state_of(1) == "open"
        assert house.propose().startswith("proposal 2 waits"), "the approved configuration is followed"
        house.write(more="limits: {streams: 78}")
        wait_until(lambda: house.state_of(1) == "void", "another change")
        house.run("bob", "approve", "3")
        assert house.state_of(3) == "open", "bob may have changed the file"
        approved = house.run("ada", "approve", "3")
        assert (approved.returncode, approved.stderr) == (0, "")
        assert "reloaded, of what is not about models: limits.streams" in "".join(server.output)
        assert house.run("ada", "reload").returncode == 0, "it is the approved one"


def test_signatures_of_approvers_are_approvals(house: House) -> None:
    keys = {}
    for name in ("ada", "bob"):
        file = house.folder / f"{name}-sign.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", file], check=True, capture_output=True)
        made = subprocess.run(["openssl", "pkey", "-in", file, "-pubout"], check=True, capture_output=True, text=True)
        keys[name] = made.stdout.splitlines()[1]
    approvals = f"approvals: {{promote: 1, force: 1, reload: 2, keys: {{ada: {keys['ada']}, bob: {keys['bob']}}}}}"
    house.write(approvals)
    with house.serving() as server:
        house.write(approvals, "limits: {streams: 77}")
        for name in ("ada", "bob"):
            signed = modelward(
                "config", "sign", house.config, "--key", house.folder / f"{name}-sign.pem", "--name", name
            )
            assert (signed.returncode, signed.stderr) == (0, "")
        assert "signed by ada, bob" in modelward("config", "verify", house.config).stdout
        wait_until(lambda: house.run("bob", "proposals", "1").returncode == 0, "the change to be found")
        wait_until(lambda: house.state_of(1) == "done", "both signatures to approve it")
        assert [each["signed"] for each in house.told(1)["approvals"]] == [True, True]
        assert "reloaded, of what is not about models: limits.streams" in "".join(server.output)
    signatures = house.config.with_name("modelward.yaml.sig")
    before = house.config.read_text(), signatures.read_bytes()
    house.write(approvals, "limits: {streams: 78}")
    assert modelward("config", "verify", house.config).returncode == 1
    for name in ("ada", "bob"):
        modelward("config", "sign", house.config, "--key", house.folder / f"{name}-sign.pem", "--name", name)
    with house.serving() as server:
        assert house.run("ada", "reload").returncode == 0, "signed files are followed at a start"
        wait_until(lambda: house.state_of(2) == "done", "the proposal of these to be told as done")
        words = ("audit", "query", "--proposal", "2", "--verb", "reload", "--state", house.state, "--json")
        (record,) = (json.loads(line) for line in modelward(*words).stdout.splitlines())
        assert (record["result"], record["approvals"]) == ("done", ["ada", "bob"])
        signatures.write_bytes(before[1])
        house.config.with_suffix(".new").write_text(before[0])
        house.config.with_suffix(".new").replace(house.config)
        wait_until(lambda: "another file has taken its place" in "".join(server.output), "old signatures to be refused")
        assert house.state_of(3) == "open"
        assert house.run("bob", "reject", "3", "--reason", "not now").returncode == 0
        settings = house.root / "add" / "model.yaml"
        settings.write_text("deadline: 9s\n")
        for name, file in ((name, file) for name in ("ada", "bob") for file in (house.config, settings)):
            modelward("config", "sign", file, "--key", house.folder / f"{name}-sign.pem", "--name", name)
        wait_until(lambda: "it was rejected" in "".join(server.output), "what was rejected to stay so")
        assert house.state_of(4) == "open"
