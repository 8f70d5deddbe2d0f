"""Modelward in front of an upstream, and the transport spike in its place."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from loadtests.race import spike
from loadtests.race.contestant import Contestant
from loadtests.race.ours import AMPLE, Start, serve
from loadtests.tools import models
from loadtests.tools.certificate import Certificate
from loadtests.tools.process import Process, started

GUARDS = "four limits, scan against the upstream's signature, score, deadline, fallback, metrics, health checks"


def modelward(behind: int, certificate: Certificate | None = None) -> Contestant:
    def prepare(folder: Path) -> Start:
        models.save_profile(folder / "profile.npz")
        settings = {
            "upstreams": [f"127.0.0.1:{behind}"],
            "deadline": "1s",
            "limit": AMPLE,
            "fallback": [{"value": {"label": [0], "probabilities": [[0.5, 0.5]]}}],
            "anomaly": {"profile": str(folder / "profile.npz"), "mode": "observe", "false_positive_rate": 0.001},
        }
        limits = {"peer": AMPLE, "identity": AMPLE, "total": AMPLE}
        config: dict[str, Any] = {"limits": limits, "models": {models.MLP: settings}}
        if certificate:
            config["tls"] = {"certificate": str(certificate.certificate), "key": str(certificate.key)}
        return lambda port: serve(folder / "config.yaml", config, port)

    return Contestant("modelward", f"every guard on: {GUARDS}", prepare)


def transport_spike(behind: int) -> Contestant:
    def prepare(folder: Path) -> Start:
        built = spike.build()
        (folder / "answer").write_bytes(spike.answer())

        def start(port: int) -> AbstractContextManager[Process]:
            command = [sys.executable, str(built / "run.py"), str(port), "proxy", str(folder / "answer"), str(behind)]
            return started("transport spike", command)

        return start

    return Contestant("transport spike", "the same transport, unchecked, no guards", prepare)
