"""What is wrong, or probably not meant so, with the section `access`: for `check`, and for serve's log."""

from modelward.access import keys
from modelward.config.access import pattern
from modelward.config.schema import Config
from modelward.problem import Problem, ProblemsFound
from modelward.suggest import suggestion

SECTION = "access"
WORDS: dict[str, str] = {"certificate": "certificate", "jwt": "token", "key": "key"}
LOCAL = ("127.", "[::1]", "localhost", "unix:")


def problems(config: Config) -> list[Problem]:
    """Files that cannot be used."""
    if config.access is None:
        return []
    found: list[Problem] = []
    if config.access.keys is not None:
        found += keys.examine(config.access.keys)[0]
    if config.access.jwt is not None:
        from modelward.access.key_sets import authorities, load_file  # noqa: PLC0415 - brings PyJWT and aiohttp

        read = authorities if config.access.jwt.is_url else load_file
        try:
            read(config.access.jwt)
        except ProblemsFound as error:
            found += error.problems
    return found


async def unreachable(config: Config) -> Problem | None:
    """Why the keys of tokens cannot be had from their URL at the moment; None where there is none. serve starts."""
    if config.access is None or config.access.jwt is None or not config.access.jwt.is_url:
        return None
    from modelward.access import key_sets  # noqa: PLC0415 - brings PyJWT and aiohttp

    return await key_sets.unreachable(config.access.jwt)


def notes(config: Config, names: list[str]) -> list[Problem]:
    """What works and may not be meant. names: of all models that are served."""
    access = config.access
    if access is None:
        return []
    found = keys.examine(access.keys)[1] if access.keys is not None else []
    for number, rule in enumerate(access.rules):
        where = f"{SECTION}.rules[{number}]"
        for model in rule.models:
            if names and not any(pattern(model).fullmatch(name) for name in names):
                how = suggestion(model, names) or f"Served are {', '.join(names[:8])}"
                found.append(Problem(f"no model is called {model!r}", where, how=how))
        unknown = [source for source in rule.sources if not _can_prove(access, source)]
        if rule.identity is not None and len(unknown) == len(rule.sources):
            why = f"access has no {' and no '.join(unknown)} to prove it by"
            found.append(Problem(f"no caller can be {rule.identity!r}", where, why, "Set it, or leave the rule out"))
    found += _unsaid(config)
    if not access.rules:
        found.append(
            Problem("no rule: no client may call anything", f"{SECTION}.rules", how="Write one for each caller")
        )
    if config.tls is None and (access.jwt or access.keys) and not str(config.listen.grpc).startswith(LOCAL):
        why = "tokens and keys travel unencrypted, and anyone on the way can read them"
        found.append(Problem(f"{config.listen.grpc} has no TLS", "listen.grpc", why, "Set tls, or let a mesh encrypt"))
    return found


def _unsaid(config: Config) -> list[Problem]:
    """Names that more than one kind of credential can prove, where nothing says which one is meant."""
    access = config.access
    if access is None:
        return []
    kinds = [word for source, word in WORDS.items() if _can_prove(access, source)]
    if len(kinds) < 2:
        return []
    unsaid = {
        f"{SECTION}.rules[{number}]": rule.identity
        for number, rule in enumerate(access.rules)
        if rule.identity is not None and "by" not in rule.model_fields_set
    }
    if config.limits.identity is not None:
        overrides = config.limits.identity.overrides
        unsaid |= {
            f"limits.identity.overrides[{name!r}]": name
            for name, share in overrides.items()
            if "by" not in share.model_fields_set
        }
    if not unsaid:
        return []
    listed = ", ".join([*unsaid][:8]) + (f" and {len(unsaid) - 8} more" if len(unsaid) > 8 else "")
    name = next(iter(unsaid.values()))
    number = "both" if len(kinds) == 2 else "all"
    why = f"a {', a '.join(kinds[:-1])} and a {kinds[-1]} named {name!r} are {number} taken for it"
    how = "Write by: certificate, token or key, or by: any if that is meant; the next release will ask for it"
    return [Problem("how the identity must be proved is not said", listed, why, how)]


def _can_prove(access: object, source: str) -> bool:
    return bool(getattr(access, {"certificate": "certificates", "jwt": "jwt", "key": "keys"}[source]))


def words(config: Config) -> str:
    """The section in a line, for the READY table."""
    access = config.access
    if access is None:
        return "every client may call everything"
    sources = [
        word
        for word, on in (("client certificates", access.certificates), ("tokens", access.jwt), ("keys", access.keys))
        if on
    ]
    anonymous = any(rule.anonymous for rule in access.rules)
    count = f"{len(access.rules)} rule{'' if len(access.rules) == 1 else 's'}"
    return f"{', '.join(sources) or 'no identities'}{', anonymous callers' if anonymous else ''}; {count}"
