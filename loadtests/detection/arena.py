"""The real server with victims, and the keys of tenants and attackers."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtests.detection.oracle import Identity
from loadtests.detection.victims import LABEL, SCORES, Victim
from loadtests.tools.server import Server, serving
from modelward.access import keys


@dataclass(frozen=True)
class Arena:
    """keys: by identity. admin: socket of its admin API."""

    server: Server
    keys: Mapping[str, str]
    admin: Path

    def identities(self, names: Sequence[str]) -> list[Identity]:
        return [Identity(self.keys[name]) for name in names]


@contextmanager
def folder(name: str) -> Iterator[Path]:
    """A temporary one, with a path that is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix=f"modelward-{name}-") as made:
        yield Path(made)


@contextmanager
def arena(
    folder: Path,
    models: Mapping[str, Victim],
    identities: Sequence[str],
    detection: Mapping[str, Any] | None = None,
    workers: int = 1,
) -> Iterator[Arena]:
    """folder: is made. models: what is served, by name; the same victim may be served under several. detection: of each
    model; None: no guard."""
    repository = folder / "models"
    repository.mkdir(parents=True, exist_ok=True)
    saved: dict[str, Path] = {}
    for name, victim in models.items():
        if victim.name in saved:
            shutil.copytree(saved[victim.name], repository / name)
        else:
            victim.save(repository / name)
            saved[victim.name] = repository / name
    file = folder / "keys"
    texts: dict[str, str] = {}
    with keys.editing(file) as held:
        for identity in identities:
            key, texts[identity] = keys.make(identity)
            held[key.id] = key
    settings: dict[str, Any] = {
        "repository": str(repository),
        "access": {"keys": str(file), "rules": [{"identity": "*", "models": ["*"]}]},
        "models": {name: _settings(victim, detection) for name, victim in models.items()},
    }
    admin = folder / "admin.sock"
    with serving(folder, settings, workers, admin=f"unix:{admin}", log="info") as server:
        yield Arena(server, texts, admin)


def _settings(victim: Victim, detection: Mapping[str, Any] | None) -> dict[str, Any]:
    value = {LABEL: [int(victim.fallback.argmax())], SCORES: [victim.fallback.tolist()]}
    settings: dict[str, Any] = {"fallback": [{"value": value}]}
    if detection is not None:
        settings |= {"outputs": {SCORES: {"classes": True}}, "detection": dict(detection)}
    return settings
