"""What was rejected or claimed of the configuration stays so, whatever else changes with it."""

from __future__ import annotations

from math import inf
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import structs

from modelward.approvals.approved import Approved
from modelward.approvals.book import Book
from modelward.approvals.objections import MOST_CLAIMS, MOST_REJECTED, Objections, changed, file_of
from modelward.approvals.proposal import Approval, Ask
from modelward.approvals.signatures import approvers, public_line, sign
from modelward.audit.record import ITSELF, Actor
from modelward.config.schema import Config
from modelward.config.settings_files import MAIN, SettingsFiles
from modelward.records import read, written

ADA, BOB, DAN = (Actor(name=name) for name in ("ada", "bob", "dan"))
KEYS = {name: Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n, name in enumerate(("ada", "bob"), 1)}
NOW = 1_800_000_000.0
MODEL = "add/model.yaml"
CONFIG = Config.model_validate({
    "listen": {"admin": "unix:/run/a.sock"},
    "operators": {"bindings": [{"user": name, "roles": ["approver"]} for name in ("ada", "bob")]},
    "approvals": {
        "reload": 1,
        "keys": {name: public_line(key) for name, key in KEYS.items()},
        "people": {"ada": ["ada@home"]},
    },
})  # fmt: skip


class Files:
    """Two files of a configuration, and what was approved of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.approved = Approved.of(self.now(b"was", b"was"), binding=True)

    def now(self, main: bytes, model: bytes) -> SettingsFiles:
        files = SettingsFiles()
        for name, data in ((MAIN, main), (MODEL, model)):
            files.texts[name], files.places[name] = data, self.folder / name.replace("/", ".")
        return files

    def signed(self, files: SettingsFiles, who: str, at: float = NOW) -> SettingsFiles:
        for name, place in files.places.items():
            place.with_name(f"{place.name}.sig").write_bytes(sign(files.texts[name], name, who, KEYS[who], now=at))
        return files

    def ask(self, files: SettingsFiles) -> Ask:
        return Ask(verb="reload", digest=files.digest, files=changed(self.approved.data, files.texts))

    def proposed(self, book: Book, files: SettingsFiles, by: Actor = ITSELF) -> Book:
        return book.proposed(self.ask(files), by, NOW, seconds=999.0, needed=1, person=str)

    def count(self, files: SettingsFiles, book: Book, *, asked: bool = False) -> tuple[str, ...]:
        return approvers(files, self.approved, CONFIG, NOW + 90, book.objections, asked=asked)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_a_rejected_file_is_signed_again_once_an_operator_has_proposed_it_again(files: Files) -> None:
    rejected, both = files.now(b"bad", b"was"), files.signed(files.now(b"bad", b"new"), "ada")
    book = files.proposed(Book(), rejected)
    assert files.count(both, book) == ("ada",)
    book = files.proposed(book.rejected(1, BOB, NOW + 30, "no"), both)
    assert files.count(both, book) == files.count(both, book, asked=True) == ()
    files.signed(both, "ada", NOW + 60)
    assert (files.count(both, book), files.count(both, book, asked=True)) == ((), ("ada",))
    assert files.count(files.now(b"was", b"new"), book) == ("ada",), "the other file was not rejected"


def test_who_has_claimed_a_file_does_not_sign_it_under_any_name_with_another(files: Files) -> None:
    claimed, both = files.now(b"hers", b"was"), files.signed(files.now(b"hers", b"new"), "ada")
    book = files.proposed(Book(), claimed).claimed(1, Actor(name="ada@home"), NOW, "mine")
    book = files.proposed(book.voided(1, NOW, "they have changed"), both)
    assert files.count(both, book) == files.count(both, book, asked=True) == ()
    assert files.count(files.now(b"was", b"new"), book) == ("ada",)
    assert files.count(files.signed(both, "bob"), book) == ("bob",)


def test_who_proposes_files_has_claimed_them(files: Files) -> None:
    both = files.now(b"hers", b"new")
    assert files.proposed(Book(), both, ADA).objections.claimants(file_of(MAIN, b"hers")) == {"ada"}


def test_objections_end_when_others_have_approved_and_stay_where_the_glass_was_broken(files: Files) -> None:
    both = files.now(b"hers", b"new")
    book = files.proposed(Book(), both).rejected(1, BOB, NOW, "no")
    book = files.proposed(book, both).claimed(2, DAN, NOW, "")
    stays = book.broken(files.ask(both), DAN, NOW).executed(3, NOW)
    assert stays.objections == book.objections != Objections()
    approved = book.approved(2, Approval(by=BOB, at=NOW), str)
    assert approved.executed(2, NOW, "it did not work").objections == book.objections
    assert approved.executed(2, NOW).objections == Objections()


def test_objections_are_bounded_and_kept_in_the_file_of_proposals(files: Files) -> None:
    found = Objections().with_rejected(["a"], 1.0).with_rejected(["b"], 2.0)
    found = found.with_rejected([f"configuration {n}" for n in range(MOST_REJECTED)], 10.0)
    for _ in range(2):
        found = found.with_claim([f"configuration {n}" for n in range(MOST_CLAIMS)], "ada")
    assert (len(found.rejected), len(found.claims)) == (MOST_REJECTED, MOST_CLAIMS)
    assert found.after("a", asked=True) == 2.0, "what is dropped bounds what is not known"
    assert (found.after("configuration 9", asked=True), found.after("configuration 9", asked=False)) == (10.0, inf)
    both = files.now(b"hers", b"new")
    book = files.proposed(Book(), both, ADA)
    kept = read(Book, written(structs.replace(book, objections=found), defaults=False))
    assert kept.objections == found
    assert kept.proposals[0].ask.files == (file_of(MODEL, b"new"), file_of(MAIN, b"hers"))
    assert not book.withdrawn(1, ADA, NOW, "", str).proposals[0].ask.files, "an ended proposal is small"
