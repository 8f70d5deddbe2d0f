"""Loads the configuration: gathers the layers, validates the whole and reports every problem at once.

Precedence, highest first: flag, environment, the main file, the model's own model.yaml, default.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from proxy.config.explain import problems_of
from proxy.config.ladder import cross_check
from proxy.config.layer import Layer, merge
from proxy.config.schema import Config
from proxy.config.sources import from_environment, from_file, from_model_folder, from_sets
from proxy.models.repository import Repository, scan
from proxy.problem import Problem, ProblemsFound

Flags = Callable[[Layer], Layer]


def load(
    path: Path | None = None,
    sets: Iterable[str] = (),
    environ: Mapping[str, str] = os.environ,
    flags: Flags | None = None,
) -> Config:
    """The configuration from `path` (None: no file), `--set` assignments and the environment.

    flags: given everything below them, returns the layer of further command-line flags, which wins over all.
    Raises ProblemsFound with every problem that could be found.
    """
    problems: list[Problem] = []

    def collect(read: Callable[[], Layer]) -> Layer:
        try:
            return read()
        except ProblemsFound as found:
            problems.extend(found.problems)
            return Layer()

    main = [
        collect(lambda: from_file(path) if path else Layer()),
        collect(lambda: from_environment(environ)),
        collect(lambda: from_sets(sets)),
    ]
    if flags is not None:
        below = merge(main)
        main.append(collect(lambda: flags(below)))
    repository = _repository(merge(main))
    own = [collect(partial(from_model_folder, folder)) for folder in repository.models] if repository else []
    config = _validate(merge([*own, *main]), repository, problems)
    if config is None or problems:
        raise ProblemsFound(problems)
    return config


def _repository(layer: Layer) -> Repository | None:
    """What the repository holds, if the settings name one; whether they name it rightly is the schema's to say."""
    path = layer.values.get("repository")
    return scan(Path(path)) if isinstance(path, str) and path else None


def _validate(layer: Layer, repository: Repository | None, problems: list[Problem]) -> Config | None:
    try:
        config = Config.model_validate(layer.values)
    except ValidationError as error:
        problems.extend(problems_of(error, layer))
        return None
    # where the repository has problems of its own, names that are missing follow from them
    names = [m.name for m in repository.models] if repository and not repository.problems else None
    problems.extend(cross_check(config, layer, names))
    return config
