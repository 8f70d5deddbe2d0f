"""Models of upstreams that tell no signature: what of the settings cannot be obeyed."""

from modelward.config.model import ModelSettings
from modelward.upstream.profile import is_on


def needing_a_signature(settings: ModelSettings) -> list[str]:
    """The keys that mean nothing while the signature is not known."""
    mode = settings.anomaly.mode
    keys = []
    if is_on(settings.anomaly):
        keys.append("anomaly.profile" if mode == "observe" else f"anomaly.mode {mode}")
    # [[0.5]] may be FP32 or FP64, and of how many rows
    keys += [f"outputs.{output}" for output in settings.outputs]
    keys += ["canary.file"] if settings.canary.file is not None else []
    keys += [f"fallback[{i}].value" for i, fallback in enumerate(settings.fallback) if fallback.value is not None]
    return keys
