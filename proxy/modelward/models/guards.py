"""What each guard does for a model, in the words of the READY table and of `check`."""

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
    watched = {"detection": "some identities" if settings.detection.mode == OFF else settings.detection.mode}
    detection = watched if settings.detection.is_on else {}
    return (
        decode
        | detection
        | {
            "limits": ", ".join(on) or OFF,
            "deadline": deadline or OFF,
            "anomaly": settings.anomaly.mode if model.profile is not None else OFF,
            "fallback": " > ".join(chain) or OFF,
        }
    )


def _words(name: str, limit: Limit | PeerLimit | IdentityLimit) -> str:
    count = len(getattr(limit, "overrides", ()))
    overrides = f" ({counted(count, 'override')})" if count else ""
    written = limit.model_dump(mode="json")
    said = [str(written[key]) for key in ("rate", "time") if written.get(key) is not None]
    return " ".join([name, *said]) + overrides


def off(states: dict[str, str]) -> list[str]:
    """The guards that are off, by name."""
    return [name for name, state in states.items() if state == OFF]
