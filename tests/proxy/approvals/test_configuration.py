"""Which configuration is followed: approved files, at a reload and at a start, whatever lies there meanwhile."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modelward.approvals.approved import MOST_REPLACED, Approved
from modelward.approvals.configuration import FILE, Configuration
from modelward.config.approvals import Approvals
from modelward.config.changes import OF_RIGHTS
from modelward.config.listen import Listen
from modelward.config.settings_files import MAIN, SettingsFiles
from modelward.problem import Problem, ProblemsFound


class Host:
    """A file, and servers that begin with it. A configuration is the number of approvals that the file asks for;
    `rights` in it stands for who may do what."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "modelward.yaml"
        self.signed = False
        self.write("1")

    def write(self, text: str) -> None:
        self.file.write_text(text)

    def load(self, files: SettingsFiles, again: bool) -> Any:
        text = files.take(MAIN, self.file, Path.read_bytes)
        if text == b"defect":
            raise RuntimeError
        if not text or not text[:1].isdigit():
            raise ProblemsFound([Problem("this is no configuration", str(self.file))])
        approvers = lambda verb: int(text[:1])  # noqa: E731
        sections: dict[str, Any] = dict.fromkeys((*OF_RIGHTS, "access")) | {
            "operators": Approvals() if b"rights" in text else None
        }
        return SimpleNamespace(text=text.decode(), approvers=approvers, models={}, listen=Listen(), **sections)

    def agreed(self, files: SettingsFiles, approved: Approved, config: Any) -> bool:
        return self.signed

    def start(self) -> tuple[Configuration, Any]:
        configuration = Configuration(self.load, self.folder / "state", self.agreed)
        return configuration, configuration.first()


def text(config: Any) -> str:
    return str(config.text)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_first_start_takes_the_files_as_approved_and_others_wait(host: Host) -> None:
    configuration, config = host.start()
    assert (config.text, configuration.waiting) == ("1", None)
    host.write("1 changed")
    assert text(configuration.read(config)) == "1", "what was approved is followed on"
    assert configuration.waiting is not None
    assert configuration.waiting.diff == ("--- approved configuration", "+++ proposed configuration", "@@ -1 +1 @@",
                                          "-1", "+1 changed")  # fmt: skip
    assert configuration.digest() == configuration.waiting.digest
    host.write("1")
    assert text(configuration.read(config)) == "1"
    assert configuration.waiting is None, "it is as it was"


def test_what_is_taken_as_approved_is_said_once_there_is_a_log(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    configuration, config = host.start()
    assert (caplog.messages, configuration.taken) == ([], configuration.digest())
    configuration.tell()
    taken = f"the configuration is taken as approved, since none was before: {configuration.taken}"
    host.write("1 changed")
    configuration.allow(configuration.digest())
    configuration.read(config)
    assert caplog.messages == [taken, f"the configuration is approved: {configuration.digest()}"]
    assert host.start()[0].taken == ""


def test_nothing_that_a_configuration_names_is_run_before_it_is_approved(host: Host) -> None:
    run: list[str] = []

    def complete(config: Any) -> Any:
        run.append(config.text)
        return config

    configuration = Configuration(host.load, host.folder / "state", host.agreed, complete)
    config: Any = configuration.first()
    host.write("1 changed")
    configuration.read(config)
    assert run == ["1", "1"]
    configuration.allow(configuration.digest())
    configuration.read(config)
    assert run == ["1", "1", "1 changed"]


def test_approved_files_are_followed_unless_they_were_changed_since(host: Host) -> None:
    configuration, config = host.start()
    host.write("1 changed")
    approved = configuration.digest()
    configuration.allow(approved)
    host.write("1 changed again")
    assert text(configuration.read(config)) == "1"
    host.write("1 changed")
    assert text(configuration.read(config)) == "1 changed"
    assert host.start()[1].text == "1 changed", "a restart knows of it"


@pytest.mark.parametrize("text", ["1 changed", "0 nobody needs to agree"])
def test_a_start_follows_what_was_approved_last_whatever_the_files_ask_for(host: Host, text: str) -> None:
    host.start()
    host.write(text)
    configuration, config = host.start()
    assert config.text == "1"
    assert configuration.waiting is not None
    host.signed = True
    assert host.start()[1].text == text, "signatures are approvals at a start too"
    assert host.start()[1].text == text


def test_without_approvals_everything_is_followed_until_they_are_asked_for(host: Host) -> None:
    host.write("0")
    configuration, config = host.start()
    assert not (host.folder / "state").exists()
    host.write("1 approvals from now on")
    config = configuration.read(config)
    assert text(config) == "1 approvals from now on"
    host.write("0 not any more")
    assert text(configuration.read(config)) == "1 approvals from now on"


def test_when_files_were_replaced_is_kept_of_each_of_them() -> None:
    def files(**texts: str) -> SettingsFiles:
        found = SettingsFiles()
        found.texts = {name: each.encode() for name, each in texts.items()}
        return found

    kept = Approved.of(files(main="a", add="1"), binding=True)
    assert kept.replaced_at("main", b"a") == 0.0
    kept = kept.by(files(main="b", add="1"), 10.0, binding=True).by(files(main="b"), 20.0, binding=True)
    assert [kept.replaced_at(*each) for each in (("main", b"a"), ("main", b"b"), ("add", b"1"), ("add", b"a"))] == [
        10.0, 0.0, 20.0, 0.0,
    ]  # fmt: skip
    kept = kept.by(files(main="a"), 30.0, binding=True).by(files(main="b"), 40.0, binding=True)
    assert kept.replaced_at("main", b"a") == 40.0, "the last time"
    for number in range(MOST_REPLACED):
        kept = kept.by(files(main=str(number)), 50.0 + number, binding=True)
    assert len(kept.replaced) == MOST_REPLACED
    assert kept.replaced_at("main", b"a") == 40.0, "what is dropped bounds what is not known"
    assert kept.replaced_at("main", b"0") == 51.0


def test_files_that_change_who_may_do_what_are_followed_only_by_those_who_may_change_it(host: Host) -> None:
    configuration, config = host.start()
    host.write("1 rights")
    digest = configuration.digest()
    assert configuration.rights(digest) == ["operators"]
    configuration.allow(digest)
    with pytest.raises(ProblemsFound, match="operators differ from what was approved last"):
        configuration.read(config)
    configuration.allow("")
    assert text(configuration.read(config)) == "1"
    configuration.allow(digest, rights=True)
    assert text(configuration.read(config)) == "1 rights"
    host.write("1 rights, and a limit")
    assert configuration.rights(configuration.digest()) == []
    with pytest.raises(ProblemsFound, match=f"the files have changed: they were {digest}"):
        configuration.rights(digest)


def test_what_nobody_has_foreseen_in_files_that_wait_ends_no_start(host: Host) -> None:
    host.start()
    host.write("defect")
    configuration, config = host.start()
    assert (config.text, [each.why for each in configuration.faulty]) == ("1", ["RuntimeError was raised"])


@pytest.mark.parametrize("wanted", ["0 no approvals any more", "0"])
def test_an_approved_change_to_no_approvals_lasts_and_so_do_the_changes_after_it(host: Host, wanted: str) -> None:
    configuration, config = host.start()
    host.write(wanted)
    configuration.allow(digest := configuration.digest())
    config = configuration.read(config)
    assert (text(config), configuration.approved and configuration.approved.digest) == (wanted, digest)
    assert host.start()[1].text == wanted, "a restart does not go back"
    host.write("0 changed, which needs nobody")
    assert text(configuration.read(config)) == host.start()[1].text == "0 changed, which needs nobody"
    host.write("1 approvals again")
    assert host.start()[1].text == "1 approvals again"
    host.write("0 not approved")
    assert host.start()[1].text == "1 approvals again"


def test_faulty_files_that_nobody_has_approved_keep_no_server_from_starting(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    host.start()
    host.write("nonsense")
    configuration, config = host.start()
    assert (config.text, configuration.waiting) == ("1", None)
    assert [each.what for each in configuration.faulty] == ["this is no configuration"]
    assert [each.levelname for each in caplog.records if "this is no configuration" in each.message] == ["ERROR"]
    host.write("more nonsense")
    assert text(configuration.read(config)) == "1", "a reload follows on what was approved, and so the models"
    assert (configuration.waiting, len(configuration.faulty)) == (None, 1)
    host.write("1 mended")
    assert text(configuration.read(config)) == "1"
    assert (configuration.faulty, configuration.waiting is not None) == ((), True)


def test_faulty_files_end_the_start_where_nothing_needs_approvals(host: Host) -> None:
    for before in ("1", "0"):
        host.write(before)
        (host.folder / "state" / FILE).unlink(missing_ok=True)
        host.start()
    configuration, config = host.start()
    host.write("nonsense")
    with pytest.raises(ProblemsFound, match="this is no configuration"):
        configuration.read(config)
    with pytest.raises(ProblemsFound, match="this is no configuration"):
        host.start()


def test_what_was_approved_and_cannot_be_read_ends_the_start_with_the_reason(host: Host) -> None:
    host.start()
    (host.folder / "state" / FILE).write_text("{")
    with pytest.raises(ProblemsFound, match="the approved configuration cannot be read"):
        host.start()


def test_what_cannot_be_written_is_not_followed(host: Host) -> None:
    configuration, config = host.start()
    host.write("1 changed")
    configuration.allow(configuration.digest())
    (host.folder / "state" / FILE).unlink()
    (host.folder / "state" / FILE).mkdir()
    with pytest.raises(ProblemsFound, match="cannot be written"):
        configuration.read(config)
