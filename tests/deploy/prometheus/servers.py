"""Settings of the servers of a scene: of one that is in order, and of those with which something is wrong."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import trustme

from modelward.audit import key
from modelward.audit.files import CHECKPOINT, LogWriter
from modelward.audit.witness import Request, Witness
from modelward.score import Profile
from tests import models
from tests.certificates import write_pair
from tests.e2e.test_canaries import X, adding, weights
from tests.proxy.scanning.bad_models import PICKLE, with_metadata
from tests.signing import keys

# where nothing listens
NOWHERE = "127.0.0.1:9"
VALUE = "[{value: {y: [[0, 0, 0, 0]]}}]"
FOUR = "[{name: %s, datatype: FP32, shape: [-1, 4]}]"
SIGNATURE = f"{{inputs: {FOUR % 'x'}, outputs: {FOUR % 'y'}}}"
GOOD = np.full((1, 4), 3, np.float32)
BAD = np.full((1, 4), 300, np.float32)  # add_one_below(100) fails on it
TEAM = "team-a"
WITNESS = "witness.example"

Arguments = list[str | Path]


def options(root: Path, *sets: str) -> Arguments:
    return [root, *(word for each in (*sets, f"state={root}-state") for word in ("--set", each))]


def quiet(folder: Path, store: str) -> Arguments:
    """store: URL of the store of limits."""
    served = {"add": models.add_one(), "far": models.add_one(), "near": models.add_one()}
    root = models.repository(folder / "quiet", served)
    shared = (f"limits.shared={store}", "limits.total={rate: 100000/s}")
    return options(root, "workers=2", "models.add.objective={latency: 10s}", *shared)


def ending(folder: Path) -> Arguments:
    return options(models.repository(folder / "ending", {"add": models.add_one()}), "workers=1")


def twin(folder: Path, name: str, store: str, days: float) -> Arguments:
    """One of two servers of a fleet that have one name. store: of the fleet. days: that its certificate is valid."""
    root = models.repository(folder / name, {"add": models.add_one(), "changed": models.add_one()})
    issued = trustme.CA().issue_cert("localhost", not_after=datetime.now(UTC) + timedelta(days=days))
    pair = write_pair(issued, folder, name)
    return options(
        root,
        "workers=1",
        "watch=false",
        f"tls={{certificate: {pair.certificate}, key: {pair.key}}}",
        "operators={bindings: [{user: nobody, roles: viewer}]}",
        f"listen.admin=unix:{folder / name}.sock",
        f"fleet={{url: '{store}', replica: twin, interval: 200ms}}",
        f"integrity={{require: warn, keys: {{release: {keys(folder).public}}}, interval: 10s}}",
    )


def kept(folder: Path, store: str, silent: str) -> Arguments:
    """With operators, approvals, and a trail that a witness remembers otherwise. It remembers for an hour who has sent
    something. store: of the fleet. silent: address of an upstream."""
    root = models.repository(
        folder / "kept", {"add": {1: models.add_one(), 2: models.add_one()}, "failing": models.add_one_below(100)}
    )
    return options(
        root,
        "workers=1",
        f"audit={{folder: {folder / 'trail'}, witnesses: [{{folder: {_witness(folder)}}}]}}",
        f"operators={{break_glass: [deployer], bindings: [{{user: {os.getuid()}, roles: deployer}},"
        " {user: nobody, roles: approver}]}",
        "approvals={promote: 1, force: 1}",
        f"listen.admin=unix:{folder / 'kept'}.sock",
        f"fleet={{url: '{store}', replica: kept}}",
        "trusted_proxies=['127.0.0.1']",
        "limits.peer={rate: 1/h, burst: 1000000}",
        f"models.silent={{upstreams: ['{silent}'], signature: {SIGNATURE}, admission: {{concurrency: 1, queue: 9}}}}",
    )


def _witness(folder: Path) -> Path:
    """One that has seen another log of the same key."""
    signer = key.load_or_make(folder / "trail", WITNESS, begun=False)
    other = LogWriter.open(folder / "other", signer)
    other.add([b"{}"] * 3)
    other.close()
    seen = bytes(Request(0, (), (folder / "other" / CHECKPOINT).read_bytes()))
    assert Witness(folder / "witness", [signer.verifier], None).add(seen, 1).status == 200
    return folder / "witness"


def troubled(folder: Path, keys: Path, store: str, *, sound: str, failing: str) -> Arguments:
    """keys: of its callers. store: of the limits. sound, failing: addresses of upstreams."""
    canary = folder / "far.npz"
    np.savez(canary, **{"input:x": GOOD, "output:y": GOOD + 2})  # it answers with GOOD + 1
    rules = "[{identity: '*', by: key, models: [watched, capped]}, {anonymous: true, models: ['*']}]"
    config = folder / "troubled.yaml"
    config.write_text("workers: 2\n")
    arguments = options(
        _repository(folder / "models"),
        f"access={{keys: {keys}, rules: {rules}}}",
        f"metrics.identities=[{TEAM}]",
        f"audit.folder={folder / 'audit'}",
        f"limits.shared={store}",
        "limits.identity={rate: 1000/s}",
        "detection.identities=1024",
        "models.add={versions: {1: 1}, objective: {latency: 1us}, promotion: {bounds: {latency: 1000}}}",
        "models.seen={versions: {1: 1}, shadow: {version: 2, warmup: 0}}",
        f"models.spare.fallback={VALUE}",
        "models.slow={admission: {concurrency: 1, queue: 0}}",
        "models.watched={drift: {share: 1, false_alarms: 1 in 1000 requests}}",
        "models.limited.limit={rate: 1/s, burst: 2}",
        "models.capped={detection: {mode: act, budget: 100}, outputs: {y: {classes: true}}}",
        "models.guarded={outputs: {y: {range: [0, 1]}}}",
        "models.canaried.canary.interval=100ms",
        f"models.remote={{upstreams: ['{NOWHERE}'], signature: {SIGNATURE}}}",
        f"models.near={{upstreams: ['{sound}']}}",
        f"models.far={{upstreams: ['{sound}'], canary: {{file: {canary}}}}}",
        f"models.failing={{upstreams: ['{failing}']}}",
    )
    return ["--config", config, *arguments]


def _repository(root: Path) -> Path:
    two = {1: models.add_one(), 2: models.add_one_below(100)}
    served = {
        "add": two,
        "seen": two,
        "bad": models.add_one_below(100),
        "spare": models.add_one_below(100),
        "div": models.dividing(),
        "slow": models.slow_loop(2000),
        "watched": models.add_one(),
        "capped": models.identity(),
        "guarded": models.add_one(),
        "mine": models.add_one(),
        "limited": models.add_one(),
        "canaried": adding(1),
        "odd": with_metadata(PICKLE),
        "broken": b"no model",
    }
    models.repository(root, served)
    np.savez(root / "canaried" / "1" / "canary.npz", **{"input:x": X, "output:y": X + weights(1)})
    rows = np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)
    for name in ("watched", "capped"):
        Profile.fit({"x": rows}).save(root / name / "1" / "profile.npz")
    return root
