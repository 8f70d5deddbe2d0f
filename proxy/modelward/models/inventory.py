"""Everything that a server is about to serve, loaded and validated against each other: artifacts, profiles, fallbacks.

`check` prints it, `serve` starts from it, so that the one passes exactly where the other would start.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct, field
from msgspec.structs import replace

from modelward.bounded_file import read_regular
from modelward.config.model import LastGood, ModelSettings
from modelward.config.schema import Config
from modelward.defect import as_problem
from modelward.fallback.value import FallbackValue
from modelward.fingerprint import Fingerprint, fingerprint
from modelward.integrity.naming import name_of
from modelward.integrity.version_files import NOTHING_KNOWN, Provenance, Unsigned, VersionFiles
from modelward.models import scanned
from modelward.models.artifact import Artifact
from modelward.models.canary import Canary, canary_file
from modelward.models.canary import load as load_canary
from modelward.models.declared_outputs import NOTHING_DECLARED, DeclaredOutputs, declared_outputs
from modelward.models.facts import Facts, FactsByVersion
from modelward.models.policy import explicit_problems
from modelward.models.weights import Weights, primary, weights_of
from modelward.problem import Problem, ProblemsFound
from modelward.repository.refused import Refused, problems_of
from modelward.repository.scan import ModelFolder, Version, scan
from modelward.score.errors import ProfileError
from modelward.score.size import MAX_FILE
from modelward.sealing.opening import GivenUp, Opener
from modelward.tensors import difference_between, row_signature

if TYPE_CHECKING:
    from modelward.integrity.signature import Verdict
    from modelward.score import Profile

CONFIGURATION = "configuration"

# a profile, its file, and the file's fingerprint from before it was read
_Found: TypeAlias = "tuple[Profile | None, Path | None, Fingerprint]"
NO_PROFILE: _Found = None, None, ()

# the model's name, the version, its files, and whether they are scanned
Load = Callable[[str, Version, VersionFiles, bool], Artifact]

# gives what loads the versions of one inventory, each within so many seconds
Reads = Callable[[float], AbstractContextManager[Load]]

# by model name, versions ascending; empty where every version has a problem
Artifacts = dict[str, list[tuple[Version, Artifact]]]


class CheckedFallback(Struct, frozen=True):
    """One fallback of the chain: a model, whose highest version answers, a compiled value, or last good answers."""

    model: str | None = None
    last_good: LastGood | None = None
    value: FallbackValue | None = None


class CheckedVersion(Struct, frozen=True):
    """One version of one model, ready to be given to a session. profile: None where the anomaly guard is off.

    undecoded: why its requests are not looked into, None where they are. Its version is whichever the upstream has.
    canary: what it must answer before it is served and while it is, None where there is none. provenance: of all its
    files; empty where it runs on an upstream. interface: as in Facts; empty too where its upstreams tell no versions,
    so that they decide which one answers.
    """

    name: str
    version: str
    artifact: Artifact
    settings: ModelSettings
    profile: Profile | None
    profile_file: Path | None
    fallbacks: tuple[CheckedFallback, ...]
    undecoded: Problem | None = None
    profile_fingerprint: Fingerprint = ()
    canary: Canary | None = None
    provenance: Provenance = NOTHING_KNOWN
    interface: str = ""
    outputs: DeclaredOutputs = NOTHING_DECLARED

    @property
    def doubt(self) -> Problem | None:
        """Why it is served although no signature counts, where one is asked for."""
        if not self.provenance.doubt:
            return None
        what, where = "it is served, and no signature of it counts", f"model {self.name} version {self.version}"
        return Problem(what, where, self.provenance.doubt, "Sign it: modelward model sign")

    @property
    def load_digest(self) -> str:
        """Of all that is run when it is loaded: its file and its canary."""
        if self.canary is None:
            return self.artifact.sha256
        return hashlib.sha256(f"{self.artifact.sha256} {self.canary.digest}".encode()).hexdigest()


class Inventory(Struct, frozen=True):
    """models: by name, versions ascending; without problems, complete. notes: worth telling, no hindrance.

    general: what prevents serving anything. refused: versions that are not in `models`, and why.
    """

    models: tuple[CheckedVersion, ...]
    general: tuple[Problem, ...]
    notes: tuple[Problem, ...]
    refused: tuple[Refused, ...] = ()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All of them."""
        return self.general + problems_of(self.refused)


def facts_of(models: Iterable[CheckedVersion]) -> dict[str, FactsByVersion]:
    """By name; versions in their order."""
    found: dict[str, dict[str, Facts]] = {}
    for model in models:
        proved, guards = model.provenance, (model.profile is not None, model.canary is not None)
        sha256, key = model.artifact.sha256, model.artifact.sealed
        facts = Facts(sha256, *guards, proved.digest, key, proved.signer, proved.doubt, proved.unnamed, model.interface)
        found.setdefault(model.name, {})[model.version] = facts
    return {**found}


def load_unseen(name: str, version: Version, files: VersionFiles, scan: bool) -> Artifact:
    """Reads the file. Raises ProblemsFound."""
    from modelward.models.model_file import load_artifact  # noqa: PLC0415 - brings onnx: only where a model runs here

    artifact = load_artifact(files.root, version.file, files.read, scan=scan)
    return replace(artifact, sealed=files.key)


def read_here(seconds: float) -> AbstractContextManager[Load]:
    """As Reads, in this process: without a bound."""
    return contextlib.nullcontext(load_unseen)


def take_inventory(config: Config, load: Load = load_unseen, slow: frozenset[str] = frozenset()) -> Inventory:
    """Loads all that `config` names, each model file through `load`. slow: hashes of files that are not tried again.

    A version with a problem is left out of `models` and told in `refused`. Holds every model's bytes in memory: the
    caller drops them when its sessions exist.
    """
    if config.repository is None and (config.upstreams or any(s.upstreams for s in config.models.values())):
        return Inventory((), (), ())
    if config.repository is None:
        how = "Name a model or repository on the command line, or set repository in the configuration"
        return Inventory((), (Problem("there is nothing to serve", CONFIGURATION, how=how),), ())
    repository, opener = scan(config.repository), Opener(config, slow)
    refused = [*repository.refused, *(Refused(name, "", found) for name, found in config.unusable.items())]
    artifacts: Artifacts = {each.name: [] for each in refused}
    read: dict[Path, VersionFiles] = {}
    told = list(repository.notes)
    whole = [folder for folder in repository.models if folder.name not in config.unusable]
    try:
        verdicts = _verdicts_on(config, whole)
    except ProblemsFound as found:
        return Inventory((), found.problems, ())
    for folder in whole:
        artifacts[folder.name] = []
        policy = config.scan_of(folder.name)
        for version in folder.versions:
            try:
                with as_problem(f"model {folder.name} version {version.number}"):
                    trust, verdict = config.trust(folder.name), verdicts.get(version.file)
                    name, unseal = name_of(folder.name, version.number), opener.of_model(folder.name)
                    files = VersionFiles(folder.root, version.file, unseal, trust, verdict, name=name)
                    read[version.file] = files
                    artifact = load(folder.name, version, files, policy != "off")
            except ProblemsFound as found:
                given_up = found.digest if isinstance(found, GivenUp) else ""
                barred = isinstance(found, Unsigned)
                refused.append(Refused(folder.name, str(version.number), found.problems, slow=given_up, barred=barred))
                continue
            if found_by_scan := tuple(scanned.refusals(folder.name, policy, artifact)):
                refused.append(Refused(folder.name, str(version.number), found_by_scan, barred=True))
                continue
            artifacts[folder.name].append((version, artifact))
            told += scanned.notes(f"model {folder.name} version {version.number}", artifact) if policy != "off" else []
        missing = _missing(folder.name, [str(v.number) for v in folder.versions], config.settings(folder.name))
        if missing := missing + explicit_problems(config, [folder.name]):
            refused.append(Refused(folder.name, "", tuple(missing)))
            artifacts[folder.name] = []
    models, weights = [], weights_of(config)
    for folder in whole:
        for version, artifact in artifacts[folder.name]:
            files, settings = read[version.file], config.settings(folder.name)
            checker = _Checker(folder.name, files, version, artifact, settings, weights)
            try:
                with as_problem(checker.where):
                    checked = checker.check(artifacts)
            except ProblemsFound as found:
                checker.problems += found.problems
            if checker.problems:
                problems, barred = tuple(checker.problems), files.is_unsigned
                refused.append(Refused(folder.name, str(version.number), problems, barred=barred))
            else:
                models.append(checked)
    return Inventory(tuple(models), repository.general + config.unfitting, tuple(told), tuple(refused))


def _verdicts_on(config: Config, models: Sequence[ModelFolder]) -> Mapping[Path, Verdict]:
    if config.integrity is None:
        return {}
    from modelward.integrity.signatures import verdicts_on  # noqa: PLC0415 - only where signatures count

    return verdicts_on(config, models)


def _missing(name: str, versions: list[str], settings: ModelSettings) -> list[Problem]:
    """Versions that are to answer, or to shadow, and are not there."""
    wanted = [version for version, weight in (settings.versions or {}).items() if weight and version not in versions]
    where, how = f"models.{name}.versions", "Put it there, or give its weight to another"
    problems = [Problem(f"the repository has no version {v} of model {name}", where, how=how) for v in wanted]
    where, how = f"models.{name}.shadow", "Put it there, or name another"
    shadows = [shadow.version for shadow in settings.shadow if shadow.version not in (None, *versions)]
    return problems + [Problem(f"the repository has no version {v} of model {name}", where, how=how) for v in shadows]


class _Checker(Struct):
    """Holds one version against its settings, collecting problems."""

    name: str
    files: VersionFiles
    version: Version
    artifact: Artifact
    settings: ModelSettings
    weights: Weights
    problems: list[Problem] = field(default_factory=list)

    @property
    def where(self) -> str:
        return f"model {self.name} version {self.version.number}"

    def check(self, artifacts: Artifacts) -> CheckedVersion:
        profile, profile_file, seen = self._profile()
        fallbacks = []
        for i, fallback in enumerate(self.settings.fallback):
            where = f"{self.where}, fallback[{i}]"
            if fallback.value is not None:
                try:
                    fallbacks.append(
                        CheckedFallback(value=FallbackValue.compile(self.artifact.outputs, fallback.value, where))
                    )
                except ProblemsFound as found:
                    self.problems += found.problems
            elif fallback.last_good is not None:
                fallbacks.append(CheckedFallback(last_good=fallback.last_good))
            elif fallback.model is not None:
                self._check_fallback_model(fallback.model, artifacts, where)
                fallbacks.append(CheckedFallback(model=fallback.model))
        for other, artifact in artifacts[self.name]:
            if str(other.number) in (shadow.version for shadow in self.settings.shadow):
                self._check_shadow(str(other.number), artifact)
        declared = self._outputs()
        canary, provenance = self._canary(), self._provenance()
        return CheckedVersion(
            self.name,
            str(self.version.number),
            self.artifact,
            self.settings,
            profile,
            profile_file,
            tuple(fallbacks),
            None,
            seen,
            canary,
            provenance,
            outputs=declared,
        )

    def _outputs(self) -> DeclaredOutputs:
        try:
            return declared_outputs(self.settings.outputs, self.artifact.inputs, self.artifact.outputs, self.where)
        except ProblemsFound as found:
            self.problems += found.problems
            return NOTHING_DECLARED

    def _canary(self) -> Canary | None:
        file = canary_file(self.version.file)
        if self.settings.canary.file is not None:
            what, why = "canary.file is set and the model runs here", f"its canary is {file.name} beside its file"
            self.problems.append(Problem(what, self.where, why, "Leave it out"))
        try:
            if not self.files.has(file):
                return None
            inputs, outputs = self.artifact.inputs, self.artifact.outputs
            return load_canary(self.files.root, file, inputs, outputs, self.files.read)
        except ProblemsFound as found:
            self.problems += found.problems
            return None

    def _provenance(self) -> Provenance:
        """The last: of all that was read."""
        try:
            return self.files.end()
        except ProblemsFound as found:
            self.problems += found.problems
            return NOTHING_KNOWN

    def _check_fallback_model(self, fallback: str, artifacts: Artifacts, where: str) -> None:
        if fallback not in artifacts:
            self.problems.append(Problem(f"the repository has no model {fallback!r}", where, how="Put it there"))
            return
        if not artifacts[fallback]:  # its own problem is told
            return
        versions = {str(version.number): artifact for version, artifact in artifacts[fallback]}
        stand_in = versions[primary(list(versions), self.weights.get(fallback))]
        for kind, ours, theirs in (
            ("input", self.artifact.inputs, stand_in.inputs),
            ("output", self.artifact.outputs, stand_in.outputs),
        ):
            difference = difference_between(ours, theirs)
            if difference:
                why = f"{kind}s differ: {difference}"
                how = "A fallback needs the same inputs and the same outputs"
                self.problems.append(Problem(f"the model {fallback} cannot stand in for {self.name}", where, why, how))

    def _check_shadow(self, shadow: str, artifact: Artifact) -> None:
        """It may take fewer inputs, and give other outputs: those that are missing are counted as such."""
        ours = {spec.name: spec for spec in self.artifact.inputs}
        for spec in artifact.inputs:
            if spec.name not in ours or not ours[spec.name].fits(spec):
                why = f"it takes {spec}; here {ours.get(spec.name, f'there is no {spec.name}')}"
                what, how = f"version {shadow} cannot shadow it", "A shadow takes the same inputs"
                self.problems.append(Problem(what, self.where, why, how))

    def _profile(self) -> _Found:
        anomaly = self.settings.anomaly
        default = self.version.default_profile
        try:
            has_default = self.files.has(default)
            if has_default and (anomaly.mode == "off" or anomaly.profile is not None):
                self._hash_unused(default)
        except ProblemsFound as found:
            self.problems += found.problems
            return NO_PROFILE
        if anomaly.mode == "off":
            return NO_PROFILE
        file = default if anomaly.profile is None else default.parent / anomaly.profile
        if not (has_default if anomaly.profile is None else file.exists()):
            if anomaly.profile is not None or anomaly.mode != "observe":
                how = f"Fit one: modelward profile fit {self.version.file} --data FILE --out {file}"
                what = f"anomaly.mode {anomaly.mode} needs a profile"
                self.problems.append(Problem(what, str(file), "none is there", how))
            return NO_PROFILE
        return self._load_profile(file)

    def _load_profile(self, file: Path) -> _Found:
        from modelward.score import Profile  # noqa: PLC0415 - brings numpy: only where a model is scored

        how = f"Fit it again: modelward profile fit {self.version.file} --data FILE --out {file}"
        seen = fingerprint([file])
        try:
            if self.files.is_mine(file):  # and may not lead out of the repository
                profile = Profile.load(file, self.files.read(self.files.root, file, MAX_FILE)[0])
            else:
                self.files.refuse_outside(file)
                profile = Profile.load(file, self._read_elsewhere(file))
        except (ProfileError, ProblemsFound) as error:
            found = error.problems if isinstance(error, ProblemsFound) else [Problem(str(error), self.where, how=how)]
            self.problems += found
            return NO_PROFILE
        reason = profile.matches(row_signature(self.artifact.inputs))
        if reason is not None:
            self.problems.append(Problem(f"the profile {file} does not fit the model", self.where, reason, how))
            return NO_PROFILE
        return profile, file, seen

    def _read_elsewhere(self, file: Path) -> bytes:
        """A file that the configuration names. Raises ProfileError, ProblemsFound."""
        try:
            return self.files.unseal(read_regular(file, MAX_FILE), file).data
        except OSError as error:
            raise ProfileError(f"{file} cannot be read: {error.strerror or error}") from error

    def _hash_unused(self, file: Path) -> None:
        """A profile that scores nothing is a file of the version all the same. Unsigned, it may be a broken one."""
        with contextlib.suppress(*(() if self.files.is_signed else (ProblemsFound,))):
            self.files.read(self.files.root, file, MAX_FILE)
