"""What is wrong, or probably not meant so, with the section `operators`: for `check`, and for serve's log."""

from modelward.config.schema import Config
from modelward.operators.rights import Rights
from modelward.problem import Gather, Problem

SECTION = "operators"


def problems(config: Config) -> list[Problem]:
    """Files that cannot be used."""
    found = Gather()
    if config.operators is not None and config.operators.tokens:
        from modelward.access.key_sets import authorities, load_file  # noqa: PLC0415 - brings PyJWT and aiohttp

        for number, each in enumerate(config.operators.tokens):
            read = authorities if each.is_url else load_file
            found.step(lambda read=read, each=each, at=f"{SECTION}.tokens[{number}]": read(each, at))  # type: ignore[misc]
    return found.problems


async def unreachable(config: Config) -> list[Problem]:
    """Why keys cannot be had from their URLs at the moment. serve starts."""
    urls = [each for each in (config.operators.tokens if config.operators is not None else ()) if each.is_url]
    if not urls:
        return []
    from modelward.access import key_sets  # noqa: PLC0415 - brings PyJWT and aiohttp

    found = [await key_sets.unreachable(each, f"{SECTION}.tokens") for each in urls]
    return [each for each in found if each is not None]


def notes(config: Config) -> list[Problem]:
    """What works and may not be meant."""
    operators = config.operators
    if operators is None:
        return []
    rights = Rights(operators)
    bindings = f"{SECTION}.bindings"
    found = [
        Problem(
            f"this machine has no {words}",
            bindings,
            how="Write its number, or make it: it is looked up at the start and at a reload",
        )
        for words in rights.unknown
    ]
    if not operators.bindings:
        found.append(Problem("no binding: no operator may do anything", bindings, how="Write one for each operator"))
    elif not rights.administrators():
        why = "only a person who can write the configuration file can change bindings"
        how = "Give one operator the role administrator, if that is not meant"
        found.append(Problem("no binding has the verb bindings", bindings, why, how))
    admin = config.listen.admin
    if operators.tokens and config.admin_tls is None and admin is not None and not admin.is_unix:
        why = "a program that can listen in on loopback can read tokens and use them"
        how = "Set admin_tls, or listen.admin: unix:PATH"
        found.append(Problem(f"tokens come to {admin} in plain text", "listen.admin", why, how))
    if config.access is not None and config.access.jwt is not None:
        ours = config.access.jwt
        for number, each in enumerate(operators.tokens):
            if each.issuer == ours.issuer and set(each.audience) & set(ours.audience):
                why = "a token that a client of the models sends is an operator's as well"
                how = "Give operators' tokens an audience of their own"
                where = f"{SECTION}.tokens[{number}].audience"
                found.append(Problem("access.jwt accepts the same tokens", where, why, how))
    return found
