"""Modelward in front of an upstream, and the transport spike in its place."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from loadtests.race import spike
from loadtests.race.contestant import Contestant
from loadtests.race.ours import AMPLE, EVERYTHING, THIS_TREE, Start, guarded, identified, key_of_caller, serve
from loadtests.tools import models
from loadtests.tools.certificate import Certificate
from loadtests.tools.process import Process, started

GUARDS = "four limits, scan against the upstream's signature, score, deadline, fallback, metrics, health checks"


def modelward(behind: int, certificate: Certificate | None = None, command: Sequence[str] = THIS_TREE) -> Contestant:
    def prepare(folder: Path) -> Start:
        limits = {"peer": AMPLE, "identity": AMPLE, "total": AMPLE}
        return _serving(folder, behind, certificate, {"limits": limits}, command)

    return Contestant("modelward", f"every guard on: {GUARDS}", prepare)


def identities(behind: int, certificate: Certificate | None = None) -> Contestant:
    def prepare(folder: Path) -> Start:
        return _serving(folder, behind, certificate, identified(folder), THIS_TREE)

    return Contestant(EVERYTHING.name, EVERYTHING.about, prepare, metadata=key_of_caller)


def _serving(
    folder: Path, behind: int, certificate: Certificate | None, settings: Mapping[str, Any], command: Sequence[str]
) -> Start:
    config = {**settings, "models": {models.MLP: {"upstreams": [f"127.0.0.1:{behind}"], **guarded(folder)}}}
    if certificate:
        config["tls"] = {"certificate": str(certificate.certificate), "key": str(certificate.key)}
    return lambda port: serve(folder / "config.yaml", config, port, command)


def transport_spike(behind: int) -> Contestant:
    def prepare(folder: Path) -> Start:
        built = spike.build()
        (folder / "answer").write_bytes(spike.answer())

        def start(port: int) -> AbstractContextManager[Process]:
            command = [sys.executable, str(built / "run.py"), str(port), "proxy", str(folder / "answer"), str(behind)]
            return started("transport spike", command)

        return start

    return Contestant("transport spike", "the same transport, unchecked, no guards", prepare)
