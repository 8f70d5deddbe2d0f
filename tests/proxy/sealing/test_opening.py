"""What opening a file of a version says, whatever is wrong with it or with the keys."""

import hashlib
import time
from pathlib import Path
from typing import Any

import pytest

from modelward.config.load import load
from modelward.config.schema import Config
from modelward.models.inventory import take_inventory
from modelward.problem import Problem, ProblemsFound
from modelward.repository.files import SEALED
from modelward.sealing import sources
from modelward.sealing.keys import Found
from modelward.sealing.opening import GivenUp, Opened, Opener, Unseal, opener_of
from tests.models import add_one, repository
from tests.proxy.sealing.support import new_key, sealed, ssh_key

WHERE = Path("models/fraud/1/model.onnx")
KEY, RECIPIENT = new_key()


@pytest.fixture(autouse=True)
def unsecluded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of the tests stays one that can be looked into."""
    monkeypatch.setattr("modelward.sealing.process.seclude", lambda: None)


def unseal(*identities: dict[str, Any], require: str = "") -> Unseal:
    settings = {"identities": [*identities], "require": [require] if require else []}
    return Opener(Config.model_validate({"sealing": settings})).of_model("fraud")


def problems(unseal: Unseal, data: bytes) -> tuple[Problem, ...]:
    with pytest.raises(ProblemsFound) as raised:
        unseal(data, WHERE)
    return raised.value.problems


def test_keys_come_from_files_variables_and_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "key"
    file.write_text(KEY)
    monkeypatch.setenv("MODEL_KEY", KEY)
    for source in ({"file": str(file)}, {"environment": "MODEL_KEY"}, {"command": ["cat", str(file)]}):
        assert unseal(source)(sealed(b"weights", RECIPIENT), WHERE) == Opened(b"weights", RECIPIENT)


def test_what_is_not_sealed_is_as_it_lies_there() -> None:
    assert unseal()(b"plain", WHERE) == Opened(b"plain")


def test_a_model_that_must_be_sealed_has_no_other_files() -> None:
    (problem,) = problems(unseal(require="fr*"), b"plain")

    assert problem.what == "the file is not sealed"
    assert unseal(require="other")(b"plain", WHERE) == Opened(b"plain")


def test_without_keys_a_sealed_file_is_refused() -> None:
    for no_keys in (unseal(), Opener(Config()).of_model("fraud")):
        (problem,) = problems(no_keys, sealed(b"weights", RECIPIENT))
        assert problem.what == "the file is sealed, and there is no key for it"


def test_the_wrong_key_is_told_by_the_recipient_that_belongs_to_it() -> None:
    other, recipient = new_key()

    (problem,) = problems(unseal({"command": ["echo", other]}), sealed(b"weights", RECIPIENT))

    assert problem.what == "the file is sealed for another key"
    assert recipient in problem.why
    assert other not in str(problem)


def test_a_damaged_file_is_told_as_such() -> None:
    (problem,) = problems(unseal({"command": ["echo", KEY]}), sealed(b"weights", RECIPIENT)[:-1])

    assert problem.what == "the sealed file cannot be opened"
    assert problem.where == str(WHERE)


def test_a_source_that_cannot_be_read_is_told_beside_the_file(tmp_path: Path) -> None:
    failing = [
        ({"file": str(tmp_path / "none")}, "No such file"),
        ({"environment": "MODEL_KEY"}, "the variable is not set"),
        ({"command": ["sh", "-c", "echo no access >&2; exit 3"]}, "it ended with 3: no access"),
        ({"command": [str(tmp_path / "none")]}, "No such file"),
        ({"command": ["echo", "nothing"]}, "neither an identity"),
    ]
    found = problems(unseal(*(source for source, _ in failing)), sealed(b"weights", RECIPIENT))

    assert found[0].what == "the file is sealed, and there is no key for it"
    for problem, (_, words) in zip(found[1:], failing, strict=True):
        assert words in problem.why


def test_one_source_that_fails_keeps_no_other_from_being_used(tmp_path: Path) -> None:
    opened = unseal({"file": str(tmp_path / "none")}, {"command": ["echo", KEY]})(sealed(b"weights", RECIPIENT), WHERE)

    assert opened.data == b"weights"


def test_a_command_that_never_ends_is_ended_with_all_that_it_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "COMMAND_SECONDS", 0.2)

    found = problems(unseal({"command": ["sh", "-c", "sleep 600 & wait"]}), sealed(b"weights", RECIPIENT))

    assert "took longer than 0.2 s" in found[1].why


def test_keys_are_read_once_for_all_files_and_only_where_one_is_sealed(tmp_path: Path) -> None:
    count = tmp_path / "count"
    opens = unseal({"command": ["sh", "-c", f"echo x >> {count}; echo {KEY}"]})

    opens(b"plain", WHERE)
    assert not count.exists()
    for _ in range(3):
        opens(sealed(b"weights", RECIPIENT), WHERE)
    assert count.read_text() == "x\n"


def go_on_for_ever(*arguments: object) -> None:
    while True:
        time.sleep(1)


def test_what_takes_too_long_is_ended_and_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    text, recipient = ssh_key()
    data = sealed(b"weights", recipient)
    sealing = {"identities": [{"command": ["echo", text]}]}
    assert Opener(Config.model_validate({"sealing": sealing})).of_model("m")(data, WHERE).data == b"weights"
    config = Config.model_validate({"sealing": sealing, "load_timeout": "1s"})
    monkeypatch.setattr("modelward.sealing.keys.open_by_pyrage", go_on_for_ever)

    with pytest.raises(GivenUp) as raised:
        Opener(config).of_model("m")(data, WHERE)
    assert "it took longer than 1 s" in raised.value.problems[0].why
    assert raised.value.digest == hashlib.sha256(data).hexdigest()

    began = time.monotonic()
    with pytest.raises(GivenUp, match="took too long to open before, and is not tried again"):
        Opener(config, frozenset({raised.value.digest})).of_model("m")(data, WHERE)
    assert time.monotonic() - began < 1


def test_a_version_that_took_too_long_is_refused_with_the_hash_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, recipient = ssh_key()
    (tmp_path / "key").write_text(text)
    repository(tmp_path / "models", {"bad": sealed(b"weights", recipient), "good": add_one()})
    sealing = f"sealing.identities=[{{file: {tmp_path / 'key'}}}]"
    config = load(None, [f"repository={tmp_path / 'models'}", sealing, "load_timeout=1s"], {})
    monkeypatch.setattr("modelward.sealing.keys.open_by_pyrage", go_on_for_ever)

    found = take_inventory(config)
    (refused,) = found.refused
    assert refused.slow == hashlib.sha256((tmp_path / "models/bad/1/model.onnx").read_bytes()).hexdigest()
    assert [model.name for model in found.models] == ["good"]
    (again,) = take_inventory(config, slow=frozenset({refused.slow})).refused
    assert (again.slow, "not tried again" in str(again)) == (refused.slow, True)


ARMORED = b"-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n-----END AGE ENCRYPTED FILE-----\n"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (SEALED[:10], "it is cut"),
        (SEALED[:21], "it is cut"),
        (ARMORED, "it is armored"),
        (b"age-encryption.org/v2\n-> X25519 x\n", "it is of another version of age"),
    ],
)
def test_what_is_almost_sealed_is_no_plain_file(data: bytes, words: str) -> None:
    for opens in (unseal(), Opener(Config()).of_model("fraud"), opener_of(Found())):
        (problem,) = problems(opens, data)
        assert (problem.what, problem.why) == ("the file is one of age, and cannot be opened", words)
    assert unseal()(b"age", WHERE) == Opened(b"age")
