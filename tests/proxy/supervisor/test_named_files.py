"""Files that the configuration names: which they are, and that their changes are on record."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from modelward.audit.record import Record
from modelward.audit.recorder import NoTrail
from modelward.config.named_files import named_files, read_at_reloads
from modelward.config.schema import Config
from modelward.supervisor.named_files import GONE, NamedFiles

ISSUER = {"issuer": "https://issuer", "audience": "admin"}


class Trail(NoTrail):
    def __init__(self) -> None:
        self.records: list[Record] = []

    def note(self, record: Record) -> None:
        self.records.append(record)


def configured(folder: Path) -> Config:
    pair: dict[str, Any] = {"certificate": str(folder / "s.pem"), "key": str(folder / "s.key")}
    tokens = [{**ISSUER, "jwks": str(folder / "keys.json")}, {**ISSUER, "issuer": "b", "jwks": "https://b/keys"}]
    return Config.model_validate({
        "state": str(folder / "state"),
        "repository": str(folder / "models"),
        "tls": {**pair, "client_ca": str(folder / "ca.pem")},
        "admin_tls": pair,
        "operators": {"tokens": tokens, "bindings": [{"token": "ci", "issuer": "b", "roles": ["viewer"]}]},
        "audit": {"folder": str(folder / "audit"), "witnesses": [{"folder": str(folder / "seen")}]},
    })  # fmt: skip


def test_all_files_that_are_no_part_of_the_configuration_are_named(tmp_path: Path) -> None:
    found = {each.key: (each.path and each.path.name, each.secret) for each in named_files(configured(tmp_path))}
    assert found == {
        "tls.certificate": ("s.pem", False),
        "tls.key": ("s.key", True),
        "tls.client_ca": ("ca.pem", False),
        "admin_tls.certificate": ("s.pem", False),
        "admin_tls.key": ("s.key", True),
        "operators.tokens[0].jwks": ("keys.json", False),
        "operators.tokens[1].jwks": (None, False),
    }


def test_files_that_only_a_reload_reads_are_those_of_keys_profiles_and_canaries(tmp_path: Path) -> None:
    def upstream(**more: Any) -> dict[str, Any]:
        return {"upstreams": ["10.0.0.5:8001"], **more}

    config = Config.model_validate({
        "tls": {"certificate": str(tmp_path / "s.pem"), "key": str(tmp_path / "s.key")},
        "integrity": {"keys": {"release": str(tmp_path / "release.pem")}, "require": "warn"},
        "sealing": {"identities": [{"file": str(tmp_path / "model.key")}, {"environment": "MODEL_KEY"}]},
        "models": {
            "fraud": upstream(anomaly={"profile": str(tmp_path / "fraud.npz")}),
            "ranking": upstream(canary={"file": str(tmp_path / "canary.npz")}),
            "here": {"anomaly": {"profile": "of-the-version.npz"}},
        },
    })  # fmt: skip
    found = [path.name for path in read_at_reloads(config)]
    assert found == ["release.pem", "model.key", "fraud.npz", "canary.npz"]


def test_a_change_is_recorded_with_digests_and_of_a_secret_without(tmp_path: Path) -> None:
    trail, config = Trail(), configured(tmp_path)
    for name in ("s.pem", "s.key", "ca.pem", "keys.json"):
        (tmp_path / name).write_text("before")
    files = NamedFiles(lambda: config, lambda: trail)

    def looked() -> dict[str, Record]:
        trail.records.clear()
        asyncio.run(files.look())
        return {each.object: each for each in trail.records}

    assert looked() == {}
    (tmp_path / "keys.json").write_text("after it")
    (tmp_path / "s.key").write_text("after it")
    found = looked()
    assert [*found] == ["tls.key", "admin_tls.key", "operators.tokens[0].jwks"]
    keys = found["operators.tokens[0].jwks"]
    assert keys.verb == "file.changed"
    assert str(keys.before).startswith("sha256:") and keys.before != keys.after
    assert (found["tls.key"].before, found["tls.key"].after) == (None, None)
    assert looked() == {}
    (tmp_path / "ca.pem").unlink()
    assert looked()["tls.client_ca"].reason == GONE
