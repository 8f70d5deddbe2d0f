"""What the demo serves: a repository written into a folder, and the configuration that switches every guard on."""

from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from modelward.config.schema import Config
from modelward.demo.slow import slow_model
from modelward.demo.table import Table, model_bytes
from modelward.score import Profile

MODEL = "breast_cancer"
SLOW = "slow"
RATE_PER_SECOND, BURST = 20, 10
FALSE_POSITIVE_RATE = 0.01
# A slow run takes eight times its deadline.
SLOW_DEADLINE = "50ms"
SLOW_SECONDS = 0.4
FALLBACK = [[0.5, 0.5]]

FitProgress = Callable[[str, int, int], None]


class Repository(Struct, frozen=True):
    """slow_seconds: what a run of the slow model takes on this machine."""

    folder: Path
    profile: Profile
    slow_seconds: float


def write_repository(folder: Path, table: Table, progress: FitProgress) -> Repository:
    """Both models and the profile of the first, fitted now (1 to 3 s); progress as Profile.fit calls it."""
    file = _write_model(folder, MODEL, model_bytes())
    profile = Profile.fit({"input": table.rows}, progress=progress)
    profile.save(file.with_name("profile.npz"))
    model, seconds = slow_model(len(table.features), SLOW_SECONDS)
    _write_model(folder, SLOW, model)
    return Repository(folder, profile, seconds)


def configuration(repository: Path, grpc: str, http: str) -> Config:
    """The same keys as in a configuration file."""
    return Config.model_validate(
        {
            "listen": {"grpc": grpc, "http": http},
            "repository": repository,
            "models": {
                MODEL: {
                    "deadline": "1s",
                    "limit": {"rate": f"{RATE_PER_SECOND}/s", "burst": BURST},
                    "anomaly": {"mode": "tag", "false_positive_rate": FALSE_POSITIVE_RATE},
                },
                SLOW: {
                    "deadline": SLOW_DEADLINE,
                    "batching": {"max": 1},
                    "fallback": [{"value": {"probabilities": FALLBACK}}],
                },
            },
        }
    )


def _write_model(folder: Path, name: str, model: bytes) -> Path:
    file = folder / name / "1" / "model.onnx"
    file.parent.mkdir(parents=True)
    file.write_bytes(model)
    return file
