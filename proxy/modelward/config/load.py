"""Loads the configuration: gathers the layers, validates the whole and reports every problem at once.

Precedence, highest first: flag, environment, the main file, the model's own model.yaml, default.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from pydantic import ValidationError

from modelward.config import state_folder
from modelward.config.explain import problems_of
from modelward.config.fallback_chain import cross_check, unknown_models
from modelward.config.integrity import is_required
from modelward.config.layer import Layer, merge
from modelward.config.schema import Config
from modelward.config.settings_files import SettingsFiles
from modelward.config.sources import from_environment, from_file, from_model_folder, from_sets
from modelward.config.units import UnitError
from modelward.config.variables import expanded
from modelward.defect import as_problem
from modelward.problem import Problem, ProblemsFound
from modelward.repository.scan import Repository, scan

Flags = Callable[[Layer], Layer]


class Unusable(ProblemsFound):
    """A configuration with problems. readable: its sections that are right, for what else is wrong; None if there is
    nothing to be had of it."""

    def __init__(self, problems: Iterable[Problem], readable: Config | None = None) -> None:
        super().__init__(problems)
        self.readable = readable


def load(
    path: Path | None = None,
    sets: Iterable[str] = (),
    environ: Mapping[str, str] = os.environ,
    flags: Flags | None = None,
    *,
    again: bool = False,
    files: SettingsFiles | None = None,
    serving: bool = False,
) -> Config:
    """The configuration from `path` (None: no file), `--set` assignments and the environment.

    flags: given everything below them, returns the layer of further command-line flags, which wins over all. again: for
    a server that runs. Models that are named here and are not in the repository any more are told in `unfitting` then,
    since who may write there must not keep the rest of the configuration from being followed. A model.yaml with a
    problem is told in `unusable`. files: keeps what was read, or gives it. serving: for a server; it is a problem then
    where files whose changes need approvals say where the approved ones lie. Raises Unusable with every other problem
    that could be found.
    """
    read_from = files if files is not None else SettingsFiles()
    problems: list[Problem] = []
    unusable: dict[str, tuple[Problem, ...]] = {}

    def collect(read: Callable[[], Layer]) -> Layer:
        try:
            return read()
        except ProblemsFound as found:
            problems.extend(found.problems)
            return Layer()

    main = [
        collect(lambda: from_file(path, read_from) if path else Layer()),
        collect(lambda: from_environment(environ)),
        collect(lambda: from_sets(sets)),
    ]
    if flags is not None:
        below = merge(main)
        main.append(collect(lambda: flags(below)))
    outer, layer = merge(main[1:]), merge(main)
    repository = _repository(layer)
    own: dict[str, Layer] = {}
    for folder in repository.models if repository else ():
        try:
            with as_problem(f"model {folder.name}"):
                is_signed = is_required(layer.values, folder.name)
                own[folder.name] = from_model_folder(folder, read_from, signed=is_signed)
        except ProblemsFound as found:
            unusable[folder.name] = found.problems
    whole = merge([*own.values(), layer])
    config, found_here = _validate(whole)
    if found_here and own:
        config, found_here, whole = _without_unusable(layer, own, unusable)
    problems += found_here
    if serving and config is not None and config.approvers("reload"):
        problems += state_folder.problems(main[0], outer, environ)
    unfitting: list[Problem] = []
    if repository is not None and not repository.general:
        unfitting = unknown_models(whole, repository.names)
    if config is None or problems or (unfitting and not again):
        raise Unusable([*problems, *unfitting], config or _readable(whole))
    return config.with_findings(unusable, unfitting)


def _repository(layer: Layer) -> Repository | None:
    """What the repository holds, if the settings name one; whether they name it rightly is the schema's to say."""
    path = layer.values.get("repository")
    try:
        return scan(Path(expanded(path))) if isinstance(path, str) and path else None
    except UnitError:
        return None


def _validate(layer: Layer) -> tuple[Config | None, list[Problem]]:
    try:
        config = Config.model_validate(layer.values)
    except ValidationError as error:
        return None, problems_of(error, layer)
    return config, cross_check(config, layer)


def _readable(layer: Layer) -> Config | None:
    """Without the sections that have problems, and the models."""
    values = {key: value for key, value in layer.values.items() if key != "models"}
    try:
        Config.model_validate(values)
    except ValidationError as error:
        wrong = {details["loc"][0] for details in error.errors(include_url=False) if details["loc"]}
        values = {key: value for key, value in values.items() if key not in wrong}
    try:
        return Config.model_validate(values)
    except ValidationError:  # what is left does not fit together
        return None


def _without_unusable(
    main: Layer, own: Mapping[str, Layer], unusable: dict[str, tuple[Problem, ...]]
) -> tuple[Config | None, list[Problem], Layer]:
    """Of the models' own settings those that can be used, beside the main ones; adds the others to `unusable`.

    What is wrong with the main ones alone is returned.
    """
    config, problems = _validate(main)
    if problems:
        return config, problems, main
    usable: list[Layer] = []
    for name, layer in own.items():
        tried = merge([*usable, layer, main])
        config, problems = _validate(tried)
        if problems:
            unusable[name] = tuple(problems)
        else:
            usable.append(layer)
    whole = merge([*usable, main])
    return (*_validate(whole), whole)
