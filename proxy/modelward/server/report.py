"""What is served, in the words of the READY table: plain data, made where the models are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from modelward.models.facts import FactsByVersion, run_here
from modelward.repository.refused import Refused

if TYPE_CHECKING:
    from modelward.server.app import Application
    from modelward_native.request.served import Served

COLUMNS = ("model", "version", "backend", "runs on", "profile", "deadline", "fallback", "limits", "guards off")


ANY = "any"  # the version of a model whose requests pass undecoded


class Report(Struct, frozen=True):
    """rows: a cell for each of COLUMNS. guards: of the listener, (label, words). notes: about single models. refused:
    models that are not served, or not as they lie in the repository. files: model, version and digest of those that run
    here. facts: of the same by model and version, and of versions of upstreams that requests can name.
    watching: by model, of detection, outputs, capture and drift those that are on, in words."""

    rows: tuple[tuple[str, ...], ...]
    guards: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    refused: tuple[Refused, ...] = ()
    files: tuple[tuple[str, str, str], ...] = ()
    facts: Mapping[str, FactsByVersion] = field(default_factory=dict)
    watching: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def versions(self) -> dict[str, list[str]]:
        """Ascending, by model; [ANY] where they are not known."""
        model, version = COLUMNS.index("model"), COLUMNS.index("version")
        found: dict[str, list[str]] = {}
        for row in self.rows:
            found.setdefault(row[model], []).append(row[version])
        return found

    def decides(self, model: str, shares: Collection[str]) -> bool:
        """Whether shares of the model's versions are decided here, and not by its upstreams. shares: models that have
        some."""
        facts = self.facts.get(model, {})
        return bool(facts) and (model in shares or not any(each.interface for each in facts.values()))

    def cells(self, column: str, model: str, version: str) -> str:
        """What the table says there; empty where it has no such version."""
        rows = (dict(zip(COLUMNS, row, strict=True)) for row in self.rows)
        return next((row[column] for row in rows if (row["model"], row["version"]) == (model, version)), "")

    def with_guard(self, label: str, words: str) -> Report:
        return replace(self, guards=(*self.guards, (label, words)))

    def with_notes(self, notes: tuple[str, ...]) -> Report:
        return replace(self, notes=(*self.notes, *notes))

    def with_refused(self, refused: Iterable[Refused]) -> Report:
        return replace(self, refused=(*self.refused, *refused))


def describe(application: Application) -> Report:
    from modelward.access import examine as access  # noqa: PLC0415
    from modelward.models.captured import notes as of_captured  # noqa: PLC0415
    from modelward.models.guards import OFF, guards, off, watching  # noqa: PLC0415 - the supervisor, which prints reports, has no models
    from modelward.models.inventory import facts_of  # noqa: PLC0415
    from modelward.models.opening import shared_here  # noqa: PLC0415
    from modelward.models.policy import policy_notes  # noqa: PLC0415
    from modelward.models.unnamed import unnamed  # noqa: PLC0415
    from modelward.models.watched import notes as of_watched  # noqa: PLC0415
    from modelward.models.watched import words as watched  # noqa: PLC0415
    from modelward.plural import counted  # noqa: PLC0415
    from modelward.server.tls import clients  # noqa: PLC0415
    from modelward.upstream.undecided import undecided  # noqa: PLC0415

    config, rows = application.config, []
    connected = {endpoint.address for endpoint in application.upstreams if endpoint.connected}
    for model in application.models:
        states = guards(config, model.checked)
        batching = f"batches of {model.checked.settings.batching.max}" if model.engine.batchable else "one by one"
        anomaly = model.checked.settings.anomaly
        over = " over TLS" if config.upstream_tls_of(model.served.name) else ""
        profile = f"{anomaly.mode} at {anomaly.false_positive_rate:g}" if model.profile is not None else "none"
        where = [f"{text}{'' if text in connected else ', not connected yet'}" for text in model.upstreams]
        rows.append(
            (
                model.served.name,
                model.served.version or ANY,
                "\n".join(where) or "ONNX Runtime",
                f"upstream{over}, {model.source}"
                if model.upstreams
                else f"{model.engine.predicted_placement()}, {batching}",
                profile,
                states["deadline"] if states["deadline"] != OFF else "the client's",
                states["fallback"] if states["fallback"] != OFF else "none",
                states["limits"] if states["limits"] != OFF else "none",
                ", ".join(off(states)) or "none",
            )
        )
    at_the_door = []
    if application.serving.tls is not None and config.tls is not None:
        at_the_door.append(("TLS", f"{application.serving.tls.current.certificate}; {clients(config.tls)}"))
    if config.access is not None:
        at_the_door.append(("access", access.words(config)))
    if config.integrity is not None:
        from modelward.integrity.trust import words as trusted  # noqa: PLC0415 - only where signatures count

        at_the_door.append(("integrity", trusted(config.integrity)))
    if detected := watched(config, [model.checked.name for model in application.models]):
        at_the_door.append(("detection", detected))
    watched_models = {model.served.name: watching(model.checked.settings) for model in application.models}
    if guarded := [f"{name}: {words['outputs']}" for name, words in watched_models.items() if "outputs" in words]:
        at_the_door.append(("outputs", " | ".join(guarded)))
    if config.access_log is not None:
        share = f"{config.access_log.sample:.4g} of the requests"
        at_the_door.append(("access log", f"{share}, to {config.access_log.where}"))
    if config.sealing is not None:
        sealed = sum(bool(model.checked.artifact.sealed) for model in application.models)
        required = f"; required of models {', '.join(config.sealing.require)}" if config.sealing.require else ""
        at_the_door.append(("sealing", f"{counted(sealed, 'sealed version')} opened{required}"))
    told = [
        (_name(model.served), (model.note, model.gaps, _doubt(model.checked.provenance.doubt)))
        for model in application.models
    ]
    notes = [f"{name}: {'; '.join(filter(None, words))}" for name, words in told if any(words)]
    files = tuple((m.served.name, m.served.version, m.engine.digest) for m in application.models if m.engine.digest)
    facts = facts_of(shared_here(application.models))
    notes += map(str, policy_notes(config, run_here(facts), application.serving.shares))
    notes += map(str, undecided(config, application.models, application.serving.approved))
    notes += map(str, of_captured(model.checked for model in application.models))
    notes += map(str, of_watched(config, [model.checked for model in application.models]))
    notes += map(str, unnamed(model.checked for model in application.models))
    if application.answering.reason:
        notes.append(f"not ready: {application.answering.reason}")
    if application.serving.checker is not None and application.serving.checker.lacks_keys:
        notes.append("access.jwt.jwks cannot be had: until it can, calls with a token are answered UNAVAILABLE")
    return Report(tuple(rows), tuple(at_the_door), tuple(notes), application.refused, files, facts, watched_models)


def _doubt(why: str) -> str:
    return f"served, and no signature counts: {why}" if why else ""


def _name(served: Served) -> str:
    return f"{served.name} version {served.version}" if served.version else served.name
