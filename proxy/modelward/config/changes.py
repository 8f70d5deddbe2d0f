"""What differs between two configurations, and what of it a running server cannot follow."""

from collections.abc import Collection, Iterator, Mapping
from operator import attrgetter

from modelward.config.explain import dotted
from modelward.config.schema import Config

# sockets are bound, processes started, the state read and the log set up once
FIXED = ("listen", "admin_tls", "workers", "state", "log", "access_log", "audit", "observations", "detection", "fleet")
# what says which models are served, and how: everything else is followed whether or not they can be
OF_MODELS = (
    "repository",
    "strict",
    "load_timeout",
    "scan",
    "sealing",
    "upstreams",
    "upstream_tls",
    "passthrough",
    "version_policy",
    "integrity",
    "sticky_header",
    "models",
)

# everything else: who may call what, and what all requests have in common
OF_RULES = (
    "watch",
    "tls",
    "access",
    "operators",
    "approvals",
    "trusted_proxies",
    "health",
    "breaker",
    "limits",
    "drain",
    "metrics",
)


# who may do what, who is believed, and what is recorded and kept of it: to change them takes the verb `bindings`. By
# admin_tls and listen.admin names are proved, state and fleet have what was approved, and sealing runs commands as the
# server. Of models also a signature that is declared: approvals do not cover the versions of such a model
OF_RIGHTS = ("operators", "approvals", "audit", "admin_tls", "listen.admin", "state", "fleet", "integrity", "sealing")
OF_RIGHTS_OF_MODELS = ("approvals", "integrity", "signature")


def is_of_rights(key: str) -> bool:
    """key: with dots, as `differences` gives it."""
    parts = key.split(".")
    if parts[0] == "models":  # a model's name may have dots
        return any(each in parts[2:] for each in OF_RIGHTS_OF_MODELS)
    return parts[0] in OF_RIGHTS or ".".join(parts[:2]) in OF_RIGHTS


def changed_rights(now: Config, wanted: Config) -> list[str]:
    """Keys of OF_RIGHTS that differ, and of OF_RIGHTS_OF_MODELS."""
    models = sorted({*now.models, *wanted.models})
    own = [
        f"models.{name}.{key}"
        for name in models
        for key in OF_RIGHTS_OF_MODELS
        if right_of_model(now, name, key) != right_of_model(wanted, name, key)
    ]
    return [*(key for key in OF_RIGHTS if value_of(now, key) != value_of(wanted, key)), *own]


def right_of_model(config: Config, name: str, key: str) -> object:
    """key: of OF_RIGHTS_OF_MODELS. A signature is one where promotions of the model need approvals."""
    if key == "signature" and not config.approvers("promote", name):
        return None
    return getattr(config.models.get(name), key, None)


def value_of(config: Config, key: str) -> object:
    """key: with dots."""
    return attrgetter(key)(config)


def followed(now: Config, wanted: Config) -> tuple[Config, list[str]]:
    """As much of `wanted` as a server that runs with `now` can follow, and the keys that need a restart."""
    stays: dict[str, object] = {key: getattr(now, key) for key in FIXED}
    # every open connection began with or without it, and so did the audit trail
    for key in ("tls", "access", "operators"):
        if (getattr(now, key) is None) != (getattr(wanted, key) is None):
            stays[key] = getattr(now, key)
    if "operators" in stays:  # who approves has to be somebody
        stays["approvals"] = now.approvals
    # which keys servers know shared limits by, every connection and identity is told when it begins
    stays["limits"] = wanted.limits.model_copy(update={"shared": now.limits.shared})
    if now.access is not None and wanted.access is not None:
        stays["access"] = wanted.access.model_copy(update={"jwt": now.access.jwt})
    config = wanted.model_copy(update=stays)
    return config, differences(config, wanted)


def with_rules(config: Config, rules: Config) -> Config:
    """`config`, with every key that is not about models as in `rules`."""
    return config.model_copy(update={key: getattr(rules, key) for key in (*FIXED, *OF_RULES)})


def with_models(config: Config, models: Config, names: Collection[str]) -> Config:
    """`config`, with the settings of these models as in `models`."""
    if not names:
        return config
    settings = {name: each for name, each in config.models.items() if name not in names}
    settings |= {name: each for name, each in models.models.items() if name in names}
    return config.model_copy(update={"models": settings})


def differences(a: Config, b: Config) -> list[str]:
    """Every key whose value differs, with dots, in the order of the schema: `limits.peer.rate`."""
    # a model that is not mentioned has the defaults
    names = dict.fromkeys([*a.models, *b.models])
    before, after = (
        c.model_dump() | {"models": {name: c.settings(name).model_dump() for name in names}} for c in (a, b)
    )
    return list(_differences(before, after, ()))


def _differences(a: object, b: object, path: tuple[str | int, ...]) -> Iterator[str]:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in [*a, *(key for key in b if key not in a)]:
            yield from _differences(a.get(key), b.get(key), (*path, key))
    elif a != b:
        yield dotted(path)
