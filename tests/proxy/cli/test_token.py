"""`modelward token`."""

import json
from pathlib import Path

import pytest

from modelward.access import keys
from modelward.cli.app import main


def run(*arguments: str) -> int:
    return main(["token", *arguments])


def test_a_key_is_shown_once_listed_without_its_secret_and_revoked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "keys.json")
    assert run("add", "batch", "--expires", "30d", "--file", file) == 0
    out, err = capsys.readouterr()
    text = out.strip()
    found = keys.load(Path(file)).find(text.encode())
    assert found is not None
    assert found.name == "batch"
    assert found.expires is not None
    assert found.expires - found.created == 30 * 86400
    assert text not in err
    assert run("list", "--file", file) == 0
    listed = capsys.readouterr().out
    assert "batch" in listed and found.id in listed and text[16:] not in listed
    assert run("list", "--json", "--file", file) == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == "batch"
    assert run("revoke", found.id, "--file", file) == 0
    assert keys.load(Path(file)).keys == ()


def test_all_keys_of_a_name_are_revoked_at_once(tmp_path: Path) -> None:
    file = str(tmp_path / "keys.json")
    for name in ("a", "b", "a"):
        assert run("add", name, "--file", file) == 0
    assert run("revoke", "a", "--file", file) == 0
    assert [key.name for key in keys.load(Path(file)).keys] == ["b"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["add", ""], "is no name"),
        (["add", "a\nb"], "is no name"),
        (["add", "a", "--expires", "30"], "is no span of time"),
        (["add", "a", "--expires", "0d"], "is no span of time"),
        (["add", "a", "--expires", "999999999d"], "is no span of time"),
        (["revoke", "nobody"], "no key has the name or id"),
    ],
)
def test_what_makes_no_sense_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    file = str(tmp_path / "keys.json")
    assert run("add", "somebody", "--file", file) == 0
    before = Path(file).read_bytes()
    assert run(*arguments, "--file", file) == 1
    assert told in capsys.readouterr().err
    assert Path(file).read_bytes() == before


def test_a_file_that_is_not_there_or_cannot_be_written_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("list", "--file", str(tmp_path / "none.json")) == 1
    assert "cannot be read" in capsys.readouterr().err
    assert run("revoke", "a", "--file", str(tmp_path / "none.json")) == 1
    assert not (tmp_path / "none.json").exists()
    capsys.readouterr()
    assert run("add", "a", "--file", str(tmp_path / "no" / "keys.json")) == 1
    assert "cannot be written" in capsys.readouterr().err
