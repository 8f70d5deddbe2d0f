"""The configuration with the command line of `serve` and `check` as its topmost layer."""

import argparse
import os
from collections.abc import Mapping
from functools import partial

from modelward.config import triton
from modelward.config.address import Address, parse_address
from modelward.config.layer import Layer, merge
from modelward.config.listen import Listen
from modelward.config.load import load
from modelward.config.schema import Config
from modelward.config.settings_files import SettingsFiles
from modelward.config.units import UnitError
from modelward.problem import Problem, ProblemsFound


def from_arguments(
    arguments: argparse.Namespace,
    environ: Mapping[str, str] = os.environ,
    *,
    again: bool = False,
    files: SettingsFiles | None = None,
) -> Config:
    """The configuration with the flags of `add_arguments` on top. again, files: as `load` takes them.

    Raises ProblemsFound, WrongUsage.
    """
    flags = partial(_flags, arguments)
    return load(arguments.config, arguments.sets, environ, flags, again=again, files=files, serving=True)


def _flags(arguments: argparse.Namespace, below: Layer) -> Layer:
    layers: list[Layer] = []
    problems: list[Problem] = []
    if arguments.model is not None and arguments.model_repository is not None:
        problems.append(Problem("the repository is named twice", "--model-repository", how="Leave one of them out"))
    if arguments.upstream:
        layers.append(Layer.of(("upstreams",), list(arguments.upstream), "--upstream"))
    for value, flag in ((arguments.model_repository, "--model-repository"), (arguments.model, "command line")):
        if value is not None:
            layers.append(Layer.of(("repository",), value, flag))
    for key in ("grpc", "http"):
        host, port = triton.host_and_port(arguments, key)
        if host is not None or port is not None:
            flag = f"--{key}-port" if port is not None else f"--{key}-address"
            try:
                address = _changed(parse_address(_current(below, key)), host, port)
            except UnitError as error:
                problems.append(Problem(str(error), flag, how=error.how))
            else:
                layers.append(Layer.of(("listen", key), str(address), flag))
    layers += triton.layers(arguments)
    if problems:
        raise ProblemsFound(problems)
    return merge(layers)


def _changed(address: Address, host: str | None, port: int | None) -> Address:
    """Raises UnitError."""
    if host is not None:
        shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
        address = parse_address(f"{shown}:{0 if address.is_unix else address.port}")
    return address if port is None else address.with_port(port)


def _current(below: Layer, key: str) -> object:
    """The address that the port belongs to: as configured, or the default."""
    listen = below.values.get("listen")
    configured = listen.get(key) if isinstance(listen, dict) else None
    return str(getattr(Listen(), key)) if configured is None else configured
