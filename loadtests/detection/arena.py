"""The real server with victims, and the keys of tenants and attackers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loadtests.detection.oracle import Identity
from loadtests.detection.victims import LABEL, SCORES, Victim
from loadtests.tools.server import Server, serving
from modelward.access import keys


@dataclass(frozen=True)
class Arena:
    """keys: by identity."""

    server: Server
    keys: Mapping[str, str]

    def identities(self, names: Sequence[str]) -> list[Identity]:
        return [Identity(self.keys[name]) for name in names]


@contextmanager
def arena(folder: Path, models: Mapping[str, Victim], identities: Sequence[str]) -> Iterator[Arena]:
    """models: what is served, by name; the same victim may be served under several."""
    repository = folder / "models"
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
        "models": {name: _settings(victim) for name, victim in models.items()},
    }
    with serving(folder, settings) as server:
        yield Arena(server, texts)


def _settings(victim: Victim) -> dict[str, Any]:
    """Its fallback says what most training rows are, and how many of them are what."""
    shares = np.bincount(victim.table.train_labels, minlength=victim.classes) / len(victim.table.train)
    value = {LABEL: [int(shares.argmax())], SCORES: [shares.round(3).tolist()]}
    return {"fallback": [{"value": value}]}
