"""Where a server keeps its state as far as files have no say in it: by its command line and its environment."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

from modelward.config.layer import Layer, merge
from modelward.config.sources import PREFIX, from_environment, from_sets
from modelward.config.state_folder import state_folder
from modelward.config.units import UnitError
from modelward.config.variables import expanded

KEY = "state"
VARIABLE = f"{PREFIX}{KEY}"


def state_of_arguments(arguments: argparse.Namespace, environ: Mapping[str, str] = os.environ) -> Path:
    """Where the server keeps its state as far as files have no say in it. Raises ProblemsFound."""
    sets = [each for each in arguments.sets if each.partition("=")[0].strip(" \"'") == KEY]
    named = {variable: value for variable, value in environ.items() if variable.lower() == VARIABLE.lower()}
    return _outer(merge([from_environment(named), from_sets(sets)]))


def _outer(outer: Layer) -> Path:
    """outer: what the command line and the environment say. A path in it that cannot be used is a problem of `load`."""
    value = outer.values.get(KEY)
    try:
        return state_folder(Path(expanded(value)) if isinstance(value, str) and value else None)
    except UnitError:
        return state_folder(None)
