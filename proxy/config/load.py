"""Loads the configuration: gathers the layers, validates the whole and reports every problem at once.

Precedence, highest first: flag, environment, the main file, the model's own model.yaml, default.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from pydantic import ValidationError

from proxy.config.explain import problems_of
from proxy.config.ladder import cross_check
from proxy.config.layer import Layer, merge
from proxy.config.schema import Config
from proxy.config.sources import from_environment, from_file, from_model_folder, from_sets
from proxy.models.repository import scan
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
    repository = merge(main).values.get("repository")
    folders = scan(Path(repository)).models if isinstance(repository, str) and repository else ()
    own = [collect(lambda folder=folder: from_model_folder(folder)) for folder in folders]  # type: ignore[misc]
    config = _validate(merge([*own, *main]), problems)
    if config is None or problems:
        raise ProblemsFound(problems)
    return config


def _validate(layer: Layer, problems: list[Problem]) -> Config | None:
    try:
        config = Config.model_validate(layer.values)
    except ValidationError as error:
        problems.extend(problems_of(error, layer))
        return None
    problems.extend(cross_check(config, layer))
    return config
