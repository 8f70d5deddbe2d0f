"""What each guard does for a model, in the words of the READY table and of `check`."""

from modelward.config.model import ModelSettings
from modelward.config.rate_limit import IdentityLimit, Limit, PeerLimit
from modelward.config.schema import Config
from modelward.models.inventory import CheckedVersion
from modelward.plural import counted

OFF = "off"


def guards(config: Config, model: CheckedVersion) -> dict[str, str]:
    """Guard -> what it does ("peer 1000/s", "50ms", "observe", "lite > value"), or OFF where it is not switched on."""
    settings, limits = model.settings, config.limits
    rates = {"peer": limits.peer, "identity": limits.identity, "model": settings.limit, "total": limits.total}
    on = [_words(name, limit) for name, limit in rates.items() if limit is not None]
    deadline = settings.model_dump(mode="json", include={"deadline"})["deadline"]
    chain = [fallback.model or ("last good" if fallback.last_good else "value") for fallback in model.fallbacks]
    decode = {"decode": OFF} if model.undecoded else {}
    return (
        decode
        | watching(settings)
        | {
            "limits": ", ".join(on) or OFF,
            "deadline": deadline or OFF,
            "anomaly": settings.anomaly.mode if model.profile is not None else OFF,
            "fallback": " > ".join(chain) or OFF,
        }
    )


def watching(settings: ModelSettings) -> dict[str, str]:
    """What looks at more than one request, or at answers; without what is not switched on."""
    detection, capture, drift = settings.detection, settings.capture, settings.drift
    guarded = {name: ", ".join(output.guards) for name, output in settings.outputs.items() if output.guards}
    on = {
        "detection": "some identities" if detection.mode == OFF and detection.is_on else detection.mode,
        "outputs": "; ".join(f"{name} {words}" for name, words in guarded.items()) or OFF,
        "capture": f"{capture.share:.4g} of the requests" if capture is not None else OFF,
        "drift": f"{drift.share:.4g} of the requests" if drift is not None else OFF,
    }
    return {name: words for name, words in on.items() if words != OFF}


def _words(name: str, limit: Limit | PeerLimit | IdentityLimit) -> str:
    count = len(getattr(limit, "overrides", ()))
    overrides = f" ({counted(count, 'override')})" if count else ""
    written = limit.model_dump(mode="json")
    said = [str(written[key]) for key in ("rate", "time") if written.get(key) is not None]
    return " ".join([name, *said]) + overrides


def off(states: dict[str, str]) -> list[str]:
    """The guards that are off, by name."""
    return [name for name, state in states.items() if state == OFF]


def in_lines(states: dict[str, str]) -> str:
    """Those that are on, one a line, and the names of those that are off."""
    lines = [f"{name}: {state}" for name, state in states.items() if state != OFF]
    return "\n".join([*lines, *([f"off: {', '.join(off(states))}"] if off(states) else [])])
