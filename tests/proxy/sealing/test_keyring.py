"""The keys of a server, read at its start and at reloads."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from modelward.config.schema import Config
from modelward.sealing import keyring, process
from modelward.sealing.keyring import Keyring
from modelward.sealing.keys import identities_of
from tests.kubelet import Volume
from tests.proxy.sealing.support import new_key


@pytest.fixture(autouse=True)
def unsecluded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of the tests stays one that can be looked into; and each look at a source is a new one."""
    monkeypatch.setattr(process, "seclude", lambda: None)
    monkeypatch.setattr(keyring, "FRESH_SECONDS", 0.0)


def config(*identities: dict[str, Any]) -> Config:
    return Config.model_validate({"sealing": {"identities": [*identities]}})


def names(config: Config) -> list[str]:
    assert config.secrets is not None
    return [identity.name for identity in identities_of(config.secrets).identities]


def test_keys_reach_a_worker_with_the_configuration_and_are_shown_nowhere(tmp_path: Path) -> None:
    secret, recipient = new_key()
    (tmp_path / "key").write_text(secret)

    given = Keyring().given_to(config({"file": str(tmp_path / "key")}))

    assert names(pickle.loads(pickle.dumps(given))) == [recipient]
    assert secret not in repr(given) + str(given.model_dump()) + repr(given.secrets)


def test_a_key_that_changed_is_read_at_the_next_reload(tmp_path: Path) -> None:
    (old, _), (new, recipient) = new_key(), new_key()
    (tmp_path / "key").write_text(old)
    kept, wanted = Keyring(), config({"file": str(tmp_path / "key")})
    kept.given_to(wanted)
    (tmp_path / "key").write_text(new)

    assert names(kept.given_to(wanted)) == [recipient]


def test_a_file_that_changed_a_moment_ago_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "FRESH_SECONDS", 3600.0)
    (old, _), (new, recipient) = new_key(), new_key()
    volume = Volume(tmp_path / "secret", {"key": old})
    kept, wanted = Keyring(), config({"file": str(volume / "key")})
    kept.given_to(wanted)
    volume.write({"key": new})

    assert names(kept.given_to(wanted)) == [recipient]


def test_a_source_that_fails_later_stays_as_it_was_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret, recipient = new_key()
    (tmp_path / "key").write_text(secret)
    kept, wanted = Keyring(), config({"command": ["cat", str(tmp_path / "key")]})
    kept.given_to(wanted)
    (tmp_path / "key").unlink()

    assert names(kept.given_to(wanted)) == [recipient]
    assert "cannot be read: cat: it ended with 1" in caplog.text


def test_a_variable_is_taken_out_of_the_environment_and_kept(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    secret, recipient = new_key()
    monkeypatch.setenv("MODEL_KEY", secret)
    kept, wanted = Keyring(), config({"environment": "MODEL_KEY"})

    assert names(kept.given_to(wanted)) == [recipient]
    assert "MODEL_KEY" not in os.environ
    assert names(kept.given_to(wanted)) == [recipient]
    assert not caplog.text


def test_a_command_is_run_once_for_both_halves_of_a_reload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "FRESH_SECONDS", 60.0)
    count, kept = tmp_path / "count", Keyring()
    wanted = config({"command": ["sh", "-c", f"echo x >> {count}; echo {new_key()[0]}"]})

    kept.given_to(wanted)
    kept.given_to(wanted)
    assert count.read_text() == "x\n"
