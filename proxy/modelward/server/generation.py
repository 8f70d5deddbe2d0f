"""One configuration, compiled: everything that a request meets. A reload makes the next one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

from msgspec import Struct, field
from msgspec.structs import replace

from modelward.access import examine as access
from modelward.config.changes import differences, with_models, with_rules
from modelward.config.schema import Config
from modelward.detect.policies import Patterns, policies
from modelward.models.approved import Approved, Waiting, admitted, refused_of, waiting
from modelward.models.captured import notes as captured
from modelward.models.catalog import Catalog, CatalogEntry
from modelward.models.facts import Facts, FactsByVersion
from modelward.models.held import stand_ins
from modelward.models.inventory import Reads, facts_of, read_here
from modelward.models.opening import Opened, OpenVersion, Progress, by_name, equip, first_of_each, shared_here
from modelward.models.unnamed import unnamed
from modelward.models.weights import Shares, Weights, answering, in_service, leading, primary, weights_of
from modelward.problem import Problem, ProblemsFound
from modelward.repository.refused import Refused, problems_of, stale
from modelward.server.observing import observe
from modelward.server.renewal import NOTHING, Before, close, is_exacting, renew
from modelward.server.rules import Rules
from modelward.shadow import opening as shadowing
from modelward.shadow.opening import OpenShadow
from modelward.telemetry.native_snapshot import statistics
from modelward.tensors import TensorSpec
from modelward.upstream.models import News, UpstreamModels
from modelward.upstream.reach import can_answer, can_fall_back
from modelward_native.backend.engine import Engine
from modelward_native.request.route import Directory
from modelward_native.request.served import Served

log = logging.getLogger("modelward.models")


class Generation(Struct, frozen=True):
    """models: open and warm, as are their shadows. directory: the models, as the data plane looks them up.
    config: as it is obeyed. rules: what of it has nothing to do with models.

    refused: what the repository holds, or an upstream serves, and cannot be served. notes: what is worth telling and no
    hindrance. held: what stands for the versions of models that no version answers (modelward.models.held). named: of
    models of upstreams whose shares are decided here, the version that has the largest.
    """

    config: Config
    models: tuple[OpenVersion, ...]
    shadows: tuple[OpenShadow, ...]
    upstreams: UpstreamModels
    directory: Directory
    catalog: Catalog
    rules: Rules
    notes: tuple[Problem, ...]
    refused: tuple[Refused, ...] = ()
    held: tuple[OpenVersion, ...] = ()
    named: Mapping[str, str] = field(default_factory=dict)

    @property
    def opened(self) -> Opened:
        return {model.key: model for model in self.models}

    def under(self, rules: Rules) -> Generation:
        """The same models under other rules."""
        return replace(self, config=with_rules(self.config, rules.config), rules=rules)

    @property
    def served(self) -> list[Served]:
        """All that a request may meet."""
        return [*(model.served for model in self.asked), *(shadow.native.served for shadow in self.shadows)]

    @property
    def asked(self) -> tuple[OpenVersion, ...]:
        """All that requests may ask for."""
        return (*self.models, *self.held)


class Known(Struct, frozen=True):
    """slow: hashes of files that took too long before. held: shares that promotions decide. facts: of versions
    that other workers serve, where nothing is served here yet. deadly: as in LoadLimits. approved, reads: as in
    Before."""

    slow: frozenset[str] = frozenset()
    held: Shares = field(default_factory=dict)
    facts: Mapping[str, FactsByVersion] = field(default_factory=dict)
    deadly: frozenset[tuple[str, str, str]] = frozenset()
    approved: Approved | None = None
    reads: Reads = read_here


async def compile_generation(
    rules: Rules,
    config: Config,
    before: Generation | None = None,
    *,
    progress: Progress = lambda name: None,
    waiting: Callable[[str], None] = lambda reason: None,
    known: Known | None = None,
) -> Generation:
    """Reads, checks, opens and warms whatever `before` does not have open already. Raises ProblemsFound.

    What blocks is done in a thread, and nothing of `before` is changed. waiting: told which upstream is waited for.
    known: besides what `before` tells.
    """
    loop = asyncio.get_running_loop()
    served = _before(before, known or Known(), config)
    renewal = await loop.run_in_executor(None, renew, config, served, progress)
    config, notes = renewal.config, renewal.notes
    upstreams = UpstreamModels(config, before.upstreams if before else None, waiting=waiting)
    try:
        remote = await upstreams.open(_local(renewal.models, renewal.refused))
        if before is not None and upstreams.kept:
            config = with_models(config, before.config, upstreams.kept)
            upstreams = upstreams.keeping(config, before.upstreams)
            remote = await upstreams.open(_local(renewal.models, renewal.refused))
        models = [*renewal.models, *remote]
        refused = (*renewal.refused, *upstreams.refused)
        if refused and (not models or is_exacting(config, first=before is None)):
            raise ProblemsFound(problems_of(refused))
        shadows = (*renewal.shadows, *shadowing.open_remote(config, upstreams.shadow_pool))
        models = _equipped(models, served.opened, weights_of(config), shadows, config=config)
        directory, catalog = _lookups(models, upstreams, config, weights_of(config), refused)
    except BaseException:
        await loop.run_in_executor(None, close, renewal.models, renewal.shadows, served)
        raise
    notes += shadowing.notes(config, answering(config, _versions(models), served.held))
    notes += [model.checked.undecoded for model in models if model.checked.undecoded is not None]
    notes += access.notes(config, [*catalog.names])
    notes += [model.checked.doubt for model in models if model.checked.doubt is not None]
    notes += unnamed(model.checked for model in models)
    notes += captured(model.checked for model in models)
    for note in notes:
        if before is None or note not in before.notes:
            log.warning("%s", note)
    _tell(refused, before.refused if before else ())
    return Generation(config, tuple(models), shadows, upstreams, directory, catalog, rules, tuple(notes), refused)


def _tell(refused: Iterable[Refused], told: Collection[Refused]) -> None:
    for each in refused:
        if each not in told:
            fields = {"model": each.name, "version": each.version, "reason": each.problems[0].what}
            log.error("%s", each, extra={"fields": fields})


def _before(before: Generation | None, known: Known, config: Config) -> Before:
    slow = known.slow
    if before is None:
        first = replace(NOTHING, slow=slow, held=known.held, facts=known.facts, reads=known.reads)
        return replace(first, deadly=known.deadly, approved=known.approved)
    if before.config.load_timeout == config.load_timeout:
        slow |= {each.slow for each in before.refused if each.slow}
    facts = facts_of(model.checked for model in before.models if not model.upstreams)
    told = known.held, facts, known.deadly, known.approved, known.reads
    return Before(before.opened, before.shadows, before.config, slow, *told)


def reshared(generation: Generation, shares: Shares, approved: Approved | None = None) -> Generation:
    """The same with other shares of versions, by model. Nothing is read or opened, so that it cannot be refused.

    A model of whose versions one with a share is not served has what the configuration says. Of a version that fails
    its canary, and has no fallback chain that is sure to answer, others have the share. What needs an approval and has
    none answers no client; of a model that no version may answer, the fallback chain does.
    """
    config = generation.config
    served = _versions(generation.models)
    facts = facts_of(shared_here(generation.models))
    weights, out = admitted(config, approved, shares, facts, served)
    able = {name: [v for v in versions if v not in out.get(name, ())] for name, versions in served.items()}
    decided = {name: primary(able[name], weights[name]) for name in weights if able.get(name)}
    weights = in_service(weights, able, _out_of_service(generation))
    fresh = [replace(model, served=_afresh(model)) for model in generation.models]
    for model in fresh:
        if _is_named(model, decided):
            model.served.name_version()
    models = _equipped(fresh, generation.opened, weights, generation.shadows, out, config=config)
    refused = (*generation.refused, *refused_of(out, waiting(config, approved, facts)))
    answering_ = [model for model in models if model.checked.version not in out.get(model.checked.name, ())]
    held = stand_ins(config, models, generation.refused, first_of_each(answering_, weights))
    weights = {name: shares for name, shares in weights.items() if all(name != each.checked.name for each in held)}
    directory, catalog = _lookups(answering_, generation.upstreams, config, weights, refused, held=held)
    named = {model.checked.name: decided[model.checked.name] for model in answering_ if _is_named(model, decided)}
    return replace(
        generation, models=tuple(models), directory=directory, catalog=catalog, held=tuple(held), named=named
    )


def _is_named(model: OpenVersion, decided: Collection[str]) -> bool:
    """Of the versions of upstreams those that requests name: where shares are decided here."""
    return bool(model.checked.interface) and model.checked.name in decided


def _versions(models: Iterable[OpenVersion]) -> dict[str, list[str]]:
    """By model, ascending."""
    served: dict[str, list[str]] = {}
    for model in models:
        served.setdefault(model.checked.name, []).append(model.checked.version)
    return served


async def renewed(generation: Generation, news: News) -> Generation:
    """The same configuration over what upstreams tell now. Models that are as they were keep their engines. Nothing is
    read, and no upstream is asked. Raises ProblemsFound where the configuration does not fit."""
    config = generation.config
    upstreams = generation.upstreams.renewed(news)
    # a model that cannot be opened any more is not to be one that was open
    changed = {name for name, _ in news.told}
    before = {key: model for key, model in generation.opened.items() if not model.upstreams or key[0] not in changed}
    embedded = [model for model in generation.models if not model.upstreams]
    here = tuple(each for each in generation.refused if each not in generation.upstreams.refused)
    opened = {model.key: model for model in await upstreams.open(_local(embedded, here))}
    refused = (*here, *upstreams.refused)
    kept = [replace(before.get(key, model), served=_afresh(before.get(key, model))) for key, model in opened.items()]
    models = [*(replace(model, served=_afresh(model)) for model in embedded), *kept]
    models = _equipped(models, before, weights_of(config), generation.shadows, config=config)
    directory, catalog = _lookups(models, upstreams, config, weights_of(config), refused)
    _tell(refused, generation.refused)
    return replace(
        generation,
        models=tuple(models),
        upstreams=upstreams,
        directory=directory,
        catalog=catalog,
        refused=refused,
    )


def _local(embedded: Sequence[OpenVersion], refused: Sequence[Refused]) -> set[str]:
    """Names of the repository's models, served or not."""
    return {model.engine.name for model in embedded} | {each.name for each in refused}


def _afresh(model: OpenVersion) -> Served:
    return Served(model.engine)


def _out_of_service(generation: Generation) -> dict[str, set[str]]:
    """Versions that fail and have no fallback to answer in their place but last good answers, by model."""
    found: dict[str, set[str]] = {}
    for model in generation.models:
        if is_out(model.engine) and all(fallback.last_good is not None for fallback in model.checked.fallbacks):
            found.setdefault(model.engine.name, set()).add(model.engine.version)
    return found


def is_out(engine: Engine) -> bool:
    """Out of service: it fails its canary, or is not run any more."""
    return engine.failing or engine.contained_wholly


def describe(before: Generation, after: Generation) -> list[str]:
    """What differs, in words: versions first, then the keys of the configuration."""
    old, new = before.opened, after.opened
    words = [f"model {name} version {version} is gone" for name, version in old if (name, version) not in new]
    for key, model in new.items():
        name, version = key
        if key not in old:
            words.append(f"model {name} version {version} is new")
        elif old[key].checked.artifact.sha256 != model.checked.artifact.sha256:
            words.append(f"model {name} version {version} has another file")
        elif lost := _facts(model).lacks(_facts(old[key])):
            words.append(f"model {name} version {version} has no {' and no '.join(lost)} any more")
        elif old[key].checked.profile_fingerprint != model.checked.profile_fingerprint:
            words.append(f"model {name} version {version} has another profile")
    return words + differences(before.config, after.config)


def _facts(model: OpenVersion) -> Facts:
    return facts_of([model.checked])[model.checked.name][model.checked.version]


async def close_engines(engines: set[Engine]) -> None:
    """Gives their memory back, which takes a while: in a thread."""
    loop = asyncio.get_running_loop()
    for engine in engines:
        await loop.run_in_executor(None, engine.close)


def _equipped(
    models: list[OpenVersion],
    opened: Opened,
    weights: Weights,
    shadows: Sequence[OpenShadow],
    out: Waiting = MappingProxyType({}),
    *,
    config: Config,
) -> list[OpenVersion]:
    """With settings, fallback chains, shadows and what they watch. Raises ProblemsFound."""
    equipped, patterns = equip(models, opened, weights, out), Patterns(config)
    for model in equipped:
        if (watching := policies(config.settings(model.checked.name).detection, patterns)) is not None:
            model.served.set_detection(watching)
        mine = [shadow for shadow in shadows if shadow.model == model.engine.name]
        shadowing.equip(model.served, model.checked.artifact.sha256, mine)
        observe(model, config)
    return equipped


def in_use(current: Generation, retired: list[Served]) -> set[Served]:
    """Of all these, and of their fallbacks and shadows, those that a request may still reach."""
    found: set[Served] = set()
    left = [*(model.served for model in current.asked), *(served for served in retired if served.users)]
    while left:
        served = left.pop()
        if served not in found:
            found.add(served)
            left += [*served.fallbacks, *(shadow.served for shadow, _ in served.shadows)]
    return found


def _version(
    model: OpenVersion, upstreams: UpstreamModels, there: list[OpenVersion], decided: Collection[str]
) -> CatalogEntry:
    """there: the models that are not missing on all of their upstreams. decided: names of those with shares."""
    engine, artifact = model.engine, model.checked.artifact
    asked = upstreams.forwarders.get(engine.name)
    stats = upstreams.statistics.get(engine.name) if model.upstreams else None
    return CatalogEntry(
        name=engine.name,
        version=engine.version,
        inputs=_specs(engine.inputs, artifact.inputs),
        outputs=_specs(engine.outputs, artifact.outputs),
        statistics=lambda: statistics(engine),
        batchable=engine.batchable,
        max_batch=model.checked.settings.batching.max,
        ready=True,
        failing=is_out(engine),
        missing=engine.name in upstreams.missing,
        platform=model.platform,
        backend=model.backend,
        config=model.config,
        metadata=model.metadata,
        properties={} if model.upstreams else _properties(model),
        forward=asked.ask if asked is not None else None,
        answers=partial(can_answer, model, there),
        falls_back=partial(can_fall_back, model, there),
        upstream_statistics=stats.ask if stats is not None else None,
        shared_here=not model.upstreams or _is_named(model, decided),
    )


def _properties(model: OpenVersion) -> dict[str, str]:
    proved, artifact = model.checked.provenance, model.checked.artifact
    told = {"sha256": artifact.sha256, "digest": proved.digest, "opset": str(artifact.opset)}
    return told | ({"signer": proved.signer} if proved.signer else {})


def _lookups(
    models: list[OpenVersion],
    upstreams: UpstreamModels,
    config: Config,
    weights: Weights,
    refused: Sequence[Refused],
    *,
    held: Sequence[OpenVersion] = (),
) -> tuple[Directory, Catalog]:
    """What requests are looked up in, and what is told about it."""
    by_request = {name for name, settings in config.models.items() if settings.promotion.by == "request"}
    weights = leading(weights, _versions(models))
    there = [model for model in models if model.engine.name not in upstreams.missing]
    served = [_version(model, upstreams, there, weights) for model in models]
    served = [replace(each, reason=stale(each.name, each.version, refused) or each.reason) for each in served]
    told = [(each.name, each.version, each.reason) for each in refused]
    only_theirs = all(model.upstreams == config.upstreams for model in models)
    falls_back = {each.engine.name: can_fall_back(each, there) for each in held}
    catalog = Catalog(served, weights, told, upstreams.servers, only_theirs=only_theirs, held=falls_back)
    out = {name for name, _, _ in catalog.refused}
    directory = Directory(by_name([*models, *held]), weights, (config.sticky_header or "").encode(), by_request, out)
    directory.explain = catalog.explain_unknown
    return directory, catalog


def _specs(seen: list[tuple[str, str, tuple[int, ...]]], declared: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    """What ONNX Runtime sees, with the axis names of the file."""
    symbols = {spec.name: spec.symbols for spec in declared}
    return tuple(
        TensorSpec(name, datatype, shape, symbols.get(name, (None,) * len(shape))) for name, datatype, shape in seen
    )
