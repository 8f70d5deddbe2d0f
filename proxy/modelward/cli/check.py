"""`modelward check`: validates everything that `serve` would need, and prints it as a table or as problems."""

import argparse
import asyncio
import os
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from modelward.access import examine as access
from modelward.admin import tls as admin_tls
from modelward.admin.reach import open_to
from modelward.approvals import words as approvals
from modelward.audit import checking
from modelward.audit import opening as audit
from modelward.certificate import Certificate, utc_now
from modelward.cli import stores
from modelward.cli.output import console, print_json, print_notes, print_problems, print_refused, print_table
from modelward.cli.text import plain
from modelward.config.arguments import add_arguments as add_configuration_arguments
from modelward.config.audit import audit_folder
from modelward.config.from_arguments import from_arguments
from modelward.config.load import Unusable
from modelward.config.schema import Config
from modelward.config.sources import unread
from modelward.config.state_folder import state_folder
from modelward.config.units import SECOND
from modelward.config.upstream import parse_upstream
from modelward.config.witness import names
from modelward.limits import shared
from modelward.models import tried
from modelward.models.captured import notes as captured
from modelward.models.guards import guards, in_lines
from modelward.models.inventory import CheckedVersion, Inventory, facts_of, take_inventory
from modelward.models.opening import LoadLimits, OpenVersion
from modelward.models.policy import policy_notes
from modelward.models.trial import Trials
from modelward.models.unnamed import unnamed
from modelward.models.watched import notes as watched
from modelward.models.weights import answering
from modelward.operators import examine as operators
from modelward.problem import Problem, ProblemsFound
from modelward.promotion.state import State
from modelward.promotion.store import Store, unwritable
from modelward.promotion.unpromoted import at_start, recorded_shares
from modelward.repository.refused import Refused, problems_of
from modelward.sealing.keyring import Keyring
from modelward.server import descriptors
from modelward.server.bind import without_folders
from modelward.server.renewal import is_exacting, without_a_share
from modelward.server.tls import clients, load_material
from modelward.shadow.opening import notes as shadow_notes
from modelward.tensors import TensorSpec
from modelward.upstream.canary import differences
from modelward.upstream.credentials import examine
from modelward.upstream.discovery import unreachable, untrusted
from modelward.upstream.models import UpstreamModels
from modelward.upstream.undecided import undecided

SHORT_SHA256 = 12
COLUMNS = ("model", "version", "source", "inputs", "outputs", "profile", "guards")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_configuration_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    parser.add_argument(
        "--offline",
        action="store_true",
        help="ask no other server: neither upstreams nor the stores of shared limits and of the fleet",
    )


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 where serve would start with the same arguments, 1 where a problem would prevent it, 3 where it
    would start without something that it refuses.

    A model that is refused prevents it only where `strict` is true, where the repository is one file, or where nothing
    else is served.
    """
    config: Config | None = None  # one that can be used
    readable: Config | None = None  # what can be read of it
    problems: list[Problem] = []
    try:
        # models that it names and that are not there are told beside all else
        config = readable = Keyring().given_to(from_arguments(arguments, again=True))
    except Unusable as found:
        problems, readable = [*found.problems], found.readable
    certificate, tls_problems = _certificate(readable)
    admin, admin_problems = _admin_certificate(readable)
    shown, bad_files = examine(readable) if readable else ([], [])
    problems += [*tls_problems, *admin_problems, *bad_files]
    problems += [*access.problems(readable), *operators.problems(readable)] if readable else []
    problems += checking.problems(config) if config else ()
    inventory = take_inventory(config) if config else Inventory((), (), ())
    problems += inventory.general
    deadly = tuple(_deadly(model) for model in inventory.models if model.artifact.deadly)
    inventory = _opened(config, inventory) if config else inventory
    certificates = [*(each for each in (certificate, admin) if each), *shown]
    notes = (*inventory.notes, *(note for each in certificates for note in each.notes(utc_now())))
    notes += deadly
    notes += tuple(model.doubt for model in inventory.models if model.doubt is not None)
    notes += (*unnamed(inventory.models), *captured(inventory.models))
    # with files that cannot be read, asking would only tell them again
    asked = None if bad_files or arguments.offline else config
    inventory, remote, upstream_problems, upstream_notes, down = asyncio.run(_ask_upstreams(asked, inventory))
    problems += upstream_problems
    notes += upstream_notes
    notes += tuple(unread(os.environ))
    notes += (*descriptors.notes(config), *without_folders(config.listen)) if config is not None else ()
    store_problem, store_note = stores.limits(readable, offline=arguments.offline)
    fleet_problem, fleet_note = stores.fleet(readable, offline=arguments.offline)
    problems += (*store_problem, *fleet_problem)
    notes += (*store_note, *fleet_note)
    if config is not None and not arguments.offline and not access.problems(config):
        unreachable = asyncio.run(access.unreachable(config))
        notes += (unreachable,) if unreachable else ()
    if config is not None and not arguments.offline and not operators.problems(config):
        notes += tuple(asyncio.run(operators.unreachable(config)))
    if config is not None and not arguments.offline and not checking.problems(config):
        notes += checking.unreachable(config)
    if config is not None:
        names = [*dict.fromkeys(m.name for m in [*inventory.models, *(model.checked for model in remote)])]
        if arguments.offline and (unasked := _unasked(config)):
            # rules may speak of models that only their servers know
            known = [
                name
                for name, each in config.models.items()
                if each.upstreams or (config.upstreams and name not in names)
            ]
            why = f"not checked: {', '.join(f'model {name}' for name in known)}" if known else ""
            how = "Leave --offline out where they can be reached"
            notes += (Problem(f"{unasked} not asked", "--offline", why, how),)
            names = []
        notes += tuple(watched(config, [*inventory.models, *(model.checked for model in remote)]))
        notes += (*access.notes(config, names), *operators.notes(config), *approvals.notes(config))
        notes += _of_versions(config, inventory)
    if readable is not None:
        notes += tuple(filter(None, (unwritable(state_folder(readable.state)),)))
        if readable.audited is not None:
            trail_problems, trail_notes = audit.examine(readable.audited, readable.state)
            problems += trail_problems
            notes += tuple(trail_notes)
    refused = inventory.refused
    if config is not None and refused:
        is_empty = not inventory.models and not remote and not (arguments.offline and _unasked(config))
        if is_empty or is_exacting(config, first=True):
            problems = [*dict.fromkeys([*problems, *problems_of(refused)])]
    if arguments.json:
        print_json(_as_json(config, inventory, remote, notes, problems))
        return _code(problems, refused)
    print_notes(notes)
    told = {*problems}
    for each in refused:
        print_refused(_which(each), [problem for problem in each.problems if problem not in told])
    print_problems(problems)
    if config is not None and (inventory.models or remote or not problems):
        _print_served(config, inventory, remote, down, has_problems=bool(problems))
    if problems or config is None:
        return 1
    if certificate is not None and config.tls is not None:
        console().print(f"TLS: {plain(certificate)}; {clients(config.tls)}", soft_wrap=True)
    for label, words in _of_operators(config):
        console().print(f"{label}: {plain(words)}", soft_wrap=True)
    if admin_words := open_to(config):
        console().print(f"admin: {config.listen.admin}, {admin_words}", soft_wrap=True)
    if config.limits.shared is not None and not store_note:
        console().print(f"limits: {shared.words(config.limits.shared)}", soft_wrap=True)
    return _code(problems, refused)


def _code(problems: Sequence[Problem], refused: Sequence[Refused]) -> int:
    return 1 if problems else 3 if refused else 0


def _of_operators(config: Config) -> Iterator[tuple[str, str]]:
    """What is configured of those who may change what is served, as READY tells it."""
    if config.operators is not None:
        yield "operators", f"{config.operators.words}; a server that runs without begins with them at its next start"
    if told := approvals.words(config):
        yield "approvals", told
    if (audited := config.audited) is not None:
        where = audited.postgres.where if audited.postgres else str(audit_folder(audited, config.state))
        told = ", ".join(names(audited.witnesses))
        yield "audit", f"{where}; told to {told}" if told else f"{where}; no witness"
    if config.integrity is not None:
        from modelward.integrity.trust import words as trusted  # noqa: PLC0415 - only where signatures count

        yield "integrity", trusted(config.integrity)
    if config.sealing is not None:
        yield "sealing", f"required of models {', '.join(config.sealing.require) or 'none'}"


def _opened(config: Config, inventory: Inventory) -> Inventory:
    """Without what cannot be opened: what serve would begin with."""
    seconds = config.load_timeout / SECOND
    with Trials(state_folder(config.state), seconds) as trials:
        trials.begin([model.artifact for model in inventory.models])
        refused = [*inventory.refused, *tried.refused_of(inventory.models, LoadLimits(seconds, trials))]
    out = {(each.name, each.version) for each in refused}
    models = [m for m in inventory.models if (m.name, m.version) not in out and (m.name, "") not in out]
    served = {name: list(known) for name, known in facts_of(models).items()}
    refused += without_a_share(served, config)
    out = {(each.name, "") for each in refused if not each.version}
    return replace(inventory, models=tuple(m for m in models if (m.name, "") not in out), refused=tuple(refused))


def _which(refused: Refused) -> str:
    return f"model {refused.name} version {refused.version}" if refused.version else f"model {refused.name}"


def _print_served(
    config: Config, inventory: Inventory, remote: list[OpenVersion], down: set[str], *, has_problems: bool
) -> None:
    """down: upstreams that cannot be reached."""
    columns: tuple[str, ...] = COLUMNS
    with_files = any((config.integrity, config.sealing, config.operators))
    rows = [_row(config, model, model.artifact.sha256[:SHORT_SHA256]) for model in inventory.models]
    rows += [_row(config, model.checked, "\n".join([*model.upstreams, model.source])) for model in remote]
    if with_files:
        columns = (*COLUMNS, "files")
        files = [*map(_files, inventory.models), *("" for _ in remote)]
        rows = [(*row, cell) for row, cell in zip(rows, files, strict=True)]
    title = f"ready to serve on {config.listen.grpc}"
    if has_problems:
        title = f"not ready to serve on {config.listen.grpc}: without the problems it would serve"
    elif inventory.refused:
        title = f"serve would start on {config.listen.grpc}, without what is refused"
    unanswered = [model.checked.name for model in remote if down.issuperset(model.upstreams)]
    if unanswered and not has_problems:
        title = f"serve would start on {config.listen.grpc}, but no upstream of {', '.join(unanswered)} can be reached"
        if len(unanswered) == len(inventory.models) + len(remote):
            title += ": it would not be ready"
    print_table(title, columns, rows)


def _files(model: CheckedVersion) -> str:
    """Of a version, as status and proposals tell them: the digest, and who has signed it."""
    digest, signer = model.provenance.digest, model.provenance.signer
    lines = [digest[: len("sha256:") + SHORT_SHA256], f"signed by {signer}" if signer else "not signed"]
    return "\n".join([*filter(None, lines), *(["sealed"] if model.artifact.sealed else [])])


def _deadly(model: CheckedVersion) -> Problem:
    how = "Keep them out in the model (Max or Clip with 0, floating-point numbers); deaths are contained until then"
    return Problem(
        "values of its inputs can end a worker", str(model.artifact.file), "; ".join(model.artifact.deadly), how
    )


async def _ask_upstreams(
    config: Config | None, inventory: Inventory
) -> tuple[Inventory, list[OpenVersion], tuple[Problem, ...], tuple[Problem, ...], set[str]]:
    """The inventory with what is refused of upstreams; their models, problems, notes; and which cannot be reached.

    Each upstream is asked once; serve would wait for those that are down.
    """
    if config is None:
        return inventory, [], (), (), set()
    models: list[OpenVersion] = []
    problems: tuple[Problem, ...] = ()
    sections = [(config.upstreams, config.upstream_tls)]
    sections += [(settings.upstreams, settings.upstream_tls) for settings in config.models.values()]
    addresses = dict.fromkeys(parse_upstream(text, tls) for upstreams, tls in sections for text in upstreams)
    bad = await untrusted(list(addresses))
    upstreams = UpstreamModels(config, startup_timeout=0)
    try:
        local = {model.name for model in inventory.models} | {each.name for each in inventory.refused}
        models = await upstreams.open(local)
    except ProblemsFound as found:
        problems = found.problems
    inventory = replace(inventory, refused=(*inventory.refused, *upstreams.refused))
    # what follows from it would only hide it
    refused = {problem.where for problem in bad}
    problems = (*bad, *(problem for problem in problems if problem.where not in refused))
    undecoded = [model for model in models if model.checked.undecoded is not None]
    told = {problem.where for problem in problems} | {address for model in undecoded for address in model.upstreams}
    silent = await unreachable(sorted((a for a in addresses if a.text not in refused), key=lambda a: a.text))
    notes = [
        model.checked.undecoded
        for model in undecoded
        if model.checked.undecoded is not None and not refused.issuperset(model.upstreams)
    ]
    notes += [note for note in silent if note.where not in told]
    newest = {
        m.checked.name: (m.checked.name, m.upstreams, m.checked.canary, m.checked.artifact.inputs) for m in models
    }
    notes += await differences(config, newest.values())
    notes += undecided(config, models)
    return inventory, models, problems, tuple(notes), {note.where for note in silent}


def _unasked(config: Config) -> str:
    """Upstreams, in words; empty without any."""
    texts = {*config.upstreams, *(text for settings in config.models.values() for text in settings.upstreams)}
    return f"{len(texts)} upstream{'s were' if len(texts) > 1 else ' was'}" if texts else ""


def _of_versions(config: Config, inventory: Inventory) -> tuple[Problem, ...]:
    """By the versions that would answer after a start: the state of promotions has a say in that."""
    facts = facts_of(inventory.models)
    notes: tuple[Problem, ...] = ()
    state = State()
    try:
        state = Store(state_folder(config.state)).peek()
    except ProblemsFound as found:
        notes = found.problems
    served = {name: list(known) for name, known in facts.items()}
    first = {name: {version: 1} for name, version in at_start(config, state, served).items()}
    shares = {**first, **recorded_shares(config, state)}
    notes += tuple(policy_notes(config, facts, shares))
    return (*notes, *shadow_notes(config, answering(config, served, shares)))


def _certificate(config: Config | None) -> tuple[Certificate | None, tuple[Problem, ...]]:
    """What clients are shown, or why they cannot be."""
    if config is None or config.tls is None:
        return None, ()
    try:
        return load_material(config.tls).certificate, ()
    except ProblemsFound as found:
        return None, found.problems


def _admin_certificate(config: Config | None) -> tuple[Certificate | None, tuple[Problem, ...]]:
    """What operators are shown, or why they cannot be."""
    if config is None or config.admin_tls is None:
        return None, ()
    try:
        return admin_tls.examine(config.admin_tls), ()
    except ProblemsFound as found:
        return None, found.problems


def _row(config: Config, model: CheckedVersion, source: str) -> tuple[object, ...]:
    return (
        model.name,
        "any" if model.undecoded else model.version,
        source,
        "\n".join(map(str, model.artifact.inputs)) or "not known",
        "\n".join(map(str, model.artifact.outputs)) or "not known",
        model.profile_file.name if model.profile_file else "none",
        in_lines(guards(config, model)),
    )


def _as_json(
    config: Config | None,
    inventory: Inventory,
    remote: list[OpenVersion],
    notes: tuple[Problem, ...],
    problems: list[Problem],
) -> dict[str, Any]:
    models = [_model_as_json(config, model) for model in inventory.models] if config else []
    models += [_remote_as_json(config, model) for model in remote] if config else []
    refused = [
        {"name": each.name, "version": each.version, "problems": [problem.as_json() for problem in each.problems]}
        for each in inventory.refused
    ]
    return {
        "ok": not problems and not inventory.refused,
        "problems": [problem.as_json() for problem in problems],
        "refused": refused,
        "notes": [note.as_json() for note in notes],
        "models": models,
        "config": config.model_dump(mode="json") if config else None,
    }


def _model_as_json(config: Config, model: CheckedVersion) -> dict[str, Any]:
    def tensors(specs: tuple[TensorSpec, ...]) -> list[dict[str, Any]]:
        return [{"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)} for spec in specs]

    return {
        "name": model.name,
        "version": model.version,
        "file": plain(model.artifact.file),
        "sha256": model.artifact.sha256,
        "digest": model.provenance.digest,
        "signer": model.provenance.signer or None,
        "opset": model.artifact.opset,
        "inputs": tensors(model.artifact.inputs),
        "outputs": tensors(model.artifact.outputs),
        "profile": plain(model.profile_file) if model.profile_file else None,
        "undecoded": model.undecoded is not None,
        "guards": guards(config, model),
    }


def _remote_as_json(config: Config, model: OpenVersion) -> dict[str, Any]:
    told = {"file": None, "sha256": None, "opset": None, "upstreams": list(model.upstreams), "source": model.source}
    return _model_as_json(config, model.checked) | told
