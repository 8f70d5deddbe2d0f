"""API keys and the file that keeps their hashes."""

import json
import multiprocessing
import os
import stat
from pathlib import Path

import pytest

from modelward.access import keys
from modelward.problem import ProblemsFound


def one_key(file: Path, name: str = "a") -> tuple[keys.Key, str]:
    kept, text = keys.make(name)
    with keys.editing(file) as all_keys:
        all_keys[kept.id] = kept
    return kept, text


def test_a_key_is_found_by_its_text_and_by_nothing_near_it(tmp_path: Path) -> None:
    kept, text = one_key(tmp_path / "keys.json")
    other = keys.make("b")[1]
    ring = keys.load(tmp_path / "keys.json")
    assert ring.find(text.encode()) == kept
    mixed = text[:15] + other[15:]
    for wrong in ("", "mw_", text[:-1], text + "A", text.swapcase(), other, mixed, text.replace("_", "-", 1)):
        assert ring.find(wrong.encode()) is None
    assert ring.find(b"\xff" * 60) is None


def test_the_file_is_its_owners_and_holds_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    _, text = one_key(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert text[16:] not in file.read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["keys.json"], "nothing is left beside it"


def test_equal_secrets_would_have_different_hashes() -> None:
    assert keys._hash(b"x", b"1" * 16) != keys._hash(b"x", b"2" * 16)


def test_an_exception_while_editing_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    one_key(file)
    before = file.read_bytes()
    with pytest.raises(RuntimeError), keys.editing(file) as all_keys:
        all_keys.clear()
        raise RuntimeError
    assert file.read_bytes() == before


def _add_many(file: Path) -> None:
    for _ in range(20):
        one_key(file)


def test_writers_at_one_time_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_add_many, args=(tmp_path / "keys.json",)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert len(keys.load(tmp_path / "keys.json").keys) == 60


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"keys": 1}',
        '{"keys": [1]}',
        '{"keys": [{"id": "0"}]}',
        "[" * 100_000,
        "\xff",
    ],
)
def test_a_file_that_is_none_of_keys_is_told(tmp_path: Path, content: str) -> None:
    file = tmp_path / "keys.json"
    file.write_text(content, encoding="latin-1")
    file.chmod(0o600)
    with pytest.raises(ProblemsFound, match="is no file of keys"):
        keys.load(file)


def test_an_entry_that_was_changed_by_hand_is_told(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    one_key(file)
    sound = json.loads(file.read_text())["keys"][0]
    for change in ({"salt": "AA=="}, {"hash": "?"}, {"name": ""}, {"id": "../x"}, {"created": "x"}, {"expires": "x"}):
        file.write_text(json.dumps({"keys": [sound | change]}))
        with pytest.raises(ProblemsFound):
            keys.load(file)


def test_a_file_that_others_may_write_is_refused_and_one_that_they_may_read_is_noted(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    one_key(file)
    assert keys.examine(file) == ([], [])
    os.chmod(file, 0o644)
    problems, (note,) = keys.examine(file)
    assert not problems
    assert "can be read by others (mode 644)" in str(note)
    os.chmod(file, 0o620)
    with pytest.raises(ProblemsFound, match="can be written by others"):
        keys.load(file)
