"""From a configuration and what was served before to the models and shadows that are served next.

Each model changes as a whole or not at all: one of whose versions that are served none can take the place stays as it
was, with its settings, its shadows and its weights. Others go on without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from modelward.config.changes import with_models
from modelward.config.schema import Config
from modelward.config.state_folder import state_folder
from modelward.config.units import SECOND
from modelward.models.approved import Approved, admitted, changed, removed
from modelward.models.catalog import version_order
from modelward.models.facts import FactsByVersion
from modelward.models.inventory import Inventory, Reads, facts_of, read_here, take_inventory
from modelward.models.opening import Key, LoadLimits, Opened, OpenVersion, Progress, load_changed, open_models
from modelward.models.policy import takeovers
from modelward.models.trial import Trials
from modelward.models.weights import Shares, weights_of
from modelward.problem import Problem, ProblemsFound
from modelward.repository.refused import Refused, problems_of
from modelward.shadow import opening as shadowing
from modelward_native.request.served import Served

if TYPE_CHECKING:
    from modelward.shadow.opening import OpenShadow
    from modelward_native.backend.engine import Engine


class Before(Struct, frozen=True):
    """What is served. config: as it is obeyed. slow: hashes of files that are not tried again. held: shares
    that promotions decide. facts: of the versions that are served. deadly: as in LoadLimits. approved: versions that
    may answer, where promotions need approvals. reads: model files."""

    opened: Opened
    shadows: Sequence[OpenShadow]
    config: Config | None = None
    slow: frozenset[str] = frozenset()
    held: Shares = field(default_factory=dict)
    facts: Mapping[str, FactsByVersion] = field(default_factory=dict)
    deadly: frozenset[tuple[str, str, str]] = frozenset()
    approved: Approved | None = None
    reads: Reads = read_here

    @property
    def engines(self) -> set[Engine]:
        return {model.engine for model in self.opened.values()} | {shadow.engine for shadow in self.shadows}


NOTHING = Before({}, ())


class Renewal(Struct, frozen=True):
    """config: as it is obeyed from now on; models that stay as they were have the settings that they had."""

    config: Config
    models: list[OpenVersion]
    shadows: list[OpenShadow]
    refused: tuple[Refused, ...]
    notes: list[Problem]


def renew(config: Config, before: Before, progress: Progress) -> Renewal:
    """Reads, opens and warms what is not open. Blocks for seconds. Raises ProblemsFound; then nothing more is open."""
    again = shadowing.wanted(config, before.shadows)
    seconds = config.load_timeout / SECOND
    with before.reads(seconds) as load_unseen:
        inventory = take_inventory(config, load_changed(before.opened, config, again, load_unseen), before.slow)
    if inventory.general:
        raise ProblemsFound(inventory.problems)
    if lost := _lost(config, before, inventory):
        raise ProblemsFound(lost)
    pinned = _pinned(config, before, inventory)
    inventory = _without_takeovers(config, before, inventory, pinned)
    with Trials(state_folder(config.state), seconds) as trials:
        limits = LoadLimits(seconds, trials, before.slow, before.deadly)
        return _renew(config, before, inventory, pinned, limits, progress)


def _renew(  # noqa: PLR0917 - as renew found them
    config: Config,
    before: Before,
    inventory: Inventory,
    pinned: Sequence[Refused],
    limits: LoadLimits,
    progress: Progress,
) -> Renewal:
    models, failed = open_models(inventory, before.opened, limits, progress)
    shadows: list[OpenShadow] = []
    try:
        refused = [*inventory.refused, *failed]
        mine = {key for key, model in before.opened.items() if not model.upstreams}
        models += [_again(before.opened[key]) for key in sorted(_keys(pinned) & mine)]
        served: dict[str, list[str]] = {}
        for model in models:
            served.setdefault(model.checked.name, []).append(model.checked.version)
        refused += without_a_share(served, config)
        kept = {each.name for each in refused if (each.name, each.version) in mine or _is_whole(each, mine)}
        refused = [replace(each, kept=each.name in kept) for each in refused]
        refused += [replace(each, kept=(each.name, each.version) in mine) for each in pinned]
        if refused and is_exacting(config, first=before.config is None):
            raise ProblemsFound(problems_of(refused))
        out = kept | {each.name for each in refused if not each.version}
        close([model for model in models if model.checked.name in out], (), before)
        models = [model for model in models if model.checked.name not in out]
        models += [_again(before.opened[key]) for key in sorted(mine) if key[0] in kept]
        models.sort(key=lambda model: (model.checked.name, version_order(model.checked.version)))
        config = with_models(config, before.config or config, kept)
        read = {(model.name, model.version): model for model in inventory.models if model.name not in kept}
        checked = [read.get(model.key, model.checked) for model in models]  # with the bytes of what was read
        shadows, without = shadowing.open_local(checked, before.shadows, limits, progress)
        return Renewal(config, models, shadows, (*refused, *without), [*inventory.notes])
    except BaseException:
        close(models, shadows, before)
        raise


def _lost(config: Config, before: Before, inventory: Inventory) -> list[Problem]:
    """Versions that are served, and that other settings refuse. Workers that run would go on with them, and one that
    starts later would not: so the settings are not followed at all."""
    found = []
    for each in inventory.refused:
        if not each.barred or (each.name, each.version) not in before.opened:
            continue
        if keys := _asks_other(before.config, config, each.name):
            why = "; ".join(": ".join(filter(None, (p.what, p.why))) for p in each.problems)
            found.append(_would_end(keys, each.name, each.version, why, each.problems[0].how))
    for model in inventory.models:  # what is open is not read again, so that nothing has refused it
        is_open_unsealed = (model.name, model.version) in before.opened and not model.artifact.sealed
        must, had_to = (_must_be_sealed(each, model.name) for each in (config, before.config))
        if is_open_unsealed and must and not had_to:
            why, how = "its files are not sealed", "Seal it: modelward model seal"
            found.append(_would_end("sealing.require", model.name, model.version, why, how))
    return found


def _would_end(keys: str, name: str, version: str, why: str, how: str) -> Problem:
    how = f"Mend it ({how}), or take the version out of the repository. Then reload"
    return Problem(f"it is served, and {keys} would end that", f"model {name} version {version}", why, how)


def _must_be_sealed(config: Config | None, name: str) -> bool:
    return config is not None and config.sealing is not None and config.sealing.requires(name)


def _asks_other(before: Config | None, config: Config, name: str) -> str:
    """The keys by which other versions of the model are refused than before, in words."""
    keys = []
    if before is None:
        return ""
    if before.integrity != config.integrity or before.trust(name) != config.trust(name):
        keys.append("integrity")
    if before.scan_of(name) != config.scan_of(name):
        keys.append("scan")
    return " and ".join(keys)


def _pinned(config: Config, before: Before, inventory: Inventory) -> list[Refused]:
    """Versions that were approved with other files, and those that answer and whose files are gone. Each that is open
    stays as it is; other versions of its model go on without it."""
    there: dict[str, set[str]] = {}
    for name, version in [*((model.name, model.version) for model in inventory.models), *_keys(inventory.refused)]:
        there.setdefault(name, set()).add(version)
    facts = facts_of(model.checked for model in before.opened.values() if not model.upstreams)
    served = {name: sorted(known, key=version_order) for name, known in facts.items()}
    weights, _ = admitted(config, before.approved, before.held, facts, served)
    shares = {name: weights.get(name) or {versions[-1]: 1} for name, versions in served.items()}
    changes = changed(config, before.approved, facts_of(inventory.models))
    return [*changes, *removed(config, before.approved, facts, shares, there)]


def _keys(refused: Iterable[Refused]) -> set[Key]:
    return {(each.name, each.version) for each in refused}


def _without_takeovers(config: Config, before: Before, inventory: Inventory, pinned: Sequence[Refused]) -> Inventory:
    """New versions that would answer, and lack a guard of the one that does, stay out; and so do those of `pinned`."""
    refused = takeovers(config, before.facts, facts_of(inventory.models), before.held)
    out = _keys(refused) | _keys(pinned)
    refused = [each for each in refused if (each.name, each.version) not in _keys(pinned)]
    models = tuple(model for model in inventory.models if (model.name, model.version) not in out)
    return replace(inventory, models=models, refused=(*inventory.refused, *refused))


def is_exacting(config: Config, *, first: bool) -> bool:
    """Whether one model that is refused stops the start, or the reload of the models."""
    return config.strict or (first and config.repository is not None and config.repository.is_file())


def close(models: Sequence[OpenVersion], shadows: Sequence[OpenShadow], before: Before) -> None:
    """Those engines that were not open before."""
    for engine in ({m.engine for m in models} | {s.engine for s in shadows}) - before.engines:
        engine.close()


def _is_whole(refused: Refused, mine: set[Key]) -> bool:
    """A model as a whole, of which something was served before."""
    return not refused.version and any(name == refused.name for name, _ in mine)


def _again(model: OpenVersion) -> OpenVersion:
    return replace(model, served=Served(model.engine))


def without_a_share(served: Mapping[str, Sequence[str]], config: Config) -> list[Refused]:
    """Models of whose versions with a share none can be served: the others are not meant to answer. served: versions
    by model."""
    weights = weights_of(config)
    out = [n for n, versions in served.items() if n in weights and not any(weights[n].get(v) for v in versions)]
    what, how = "no version that has a share can be served", "Mend it, or give its share to another"
    return [Refused(name, "", (Problem(what, f"models.{name}.versions", how=how),)) for name in out]
