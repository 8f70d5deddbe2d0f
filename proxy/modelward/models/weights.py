"""Which versions of a model answer requests that name none."""

from collections.abc import Collection, Mapping, Sequence

from modelward.config.schema import Config

Weights = dict[str, dict[str, int]]
Shares = Mapping[str, Mapping[str, int]]  # model -> version -> its share


def weights_of(config: Config) -> Weights:
    """Model -> version -> share, of the models that have shares; the newest version of every other has all."""
    return {name: dict(settings.versions) for name, settings in config.models.items() if settings.versions is not None}


def overridden(config: Config, shares: Shares, served: Mapping[str, Sequence[str]]) -> Weights:
    """The configuration's, but where `shares` says otherwise and every version with a share there is served.

    Of a model whose new versions wait for a promotion, those of the shares that are left have all, or the next older.
    Where there is none either, the shares stay, and lead to no version: what was not promoted answers nothing. served:
    ascending.
    """
    usable = {}
    for name, weights in shares.items():
        there, wanted = served.get(name, ()), {version for version, weight in weights.items() if weight}
        if all(version in there for version in wanted):
            usable[name] = dict(weights)
        elif config.policy(name) == "promoted" and config.settings(name).versions is None and there:
            left = {version: weights[version] for version in wanted if version in there}
            older = _next_older(there, wanted)
            usable[name] = left or ({older: 1} if older is not None else dict(weights))
    return {**weights_of(config), **usable}


def answering(config: Config, served: Mapping[str, Sequence[str]], shares: Shares) -> dict[str, str]:
    """By model the version with most of the requests that name none.

    served: ascending. shares: decided by promotions.
    """
    weights = overridden(config, shares, served)
    return {name: primary(versions, weights.get(name)) for name, versions in served.items() if versions}


def _next_older(served: Sequence[str], gone: Collection[str]) -> str | None:
    """Than the newest of those that are gone."""
    newest = max(map(_number, gone), default=0)
    return next((version for version in reversed(served) if _number(version) < newest), None)


def _number(version: str) -> int:
    return int(version) if version.isascii() and version.isdecimal() else -1


def in_service(
    weights: Weights, served: Mapping[str, Sequence[str]], failing: Mapping[str, Collection[str]]
) -> Weights:
    """The same where versions that fail have no share: the others' grow by it.

    Where none of the others has any, the newest of them has all; where there is no other, nothing changes. served:
    versions of each model, ascending.
    """
    after = dict(weights)
    for name, out in failing.items():
        left = [version for version in served[name] if version not in out]
        given = weights.get(name) or {served[name][-1]: 1}
        shares = {version: given[version] for version in left if given.get(version)}
        if left:
            after[name] = shares or {left[-1]: 1}
    return after


def leading(weights: Weights, served: Mapping[str, Sequence[str]]) -> Weights:
    """Without those that lead to no version that is served, such as one that an upstream has not or no more."""
    return {name: shares for name, shares in weights.items() if any(map(shares.get, served.get(name, ())))}


def fractions(versions: Sequence[str], weights: Mapping[str, int] | None) -> dict[str, float]:
    """Of the requests that name no version, what each gets: 0 to 1, 1 in all. versions: ascending."""
    given = {v: weights.get(v, 0) for v in versions} if weights else {versions[-1]: 1}
    total = sum(given.values()) or 1
    return {version: given.get(version, 0) / total for version in versions}


def primary(versions: Sequence[str], weights: Mapping[str, int] | None) -> str:
    """The one that stands for the model: of most weight, of several the newest. versions: ascending."""
    return max(versions, key=lambda v: (weights.get(v, 0), versions.index(v))) if weights else versions[-1]
