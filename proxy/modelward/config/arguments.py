"""The command line of `serve` and `check` as the topmost layer of the configuration."""

import argparse
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from modelward.config import triton
from modelward.config.address import Address, parse_address
from modelward.config.layer import Layer, merge
from modelward.config.listen import Listen
from modelward.config.load import load
from modelward.config.schema import Config
from modelward.config.settings_files import SettingsFiles
from modelward.config.sources import from_environment, from_sets
from modelward.config.state_folder import outer_state
from modelward.config.units import UnitError
from modelward.problem import Problem, ProblemsFound


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that `from_arguments` reads; Triton's names are accepted beside Modelward's own."""
    parser.add_argument(
        "model", nargs="?", metavar="MODEL.onnx|REPOSITORY", help="one model, or a repository of models"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration file (YAML)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="sets",
        metavar="A.B=C",
        help="""set one key; the value is YAML; a name with dots needs quotes: models."fraud.v2".deadline=50ms""",
    )
    parser.add_argument(
        "--upstream",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="serve all models of this server: host:port, dns:///name:port or unix:/path; may be repeated",
    )
    parser.add_argument("--model-repository", metavar="DIR", help="the same as REPOSITORY (Triton's flag)")
    parser.add_argument(
        "--grpc-port", type=int, metavar="N", help="port of listen.grpc, whose host does not change (Triton's flag)"
    )
    parser.add_argument(
        "--http-port",
        type=int,
        metavar="N",
        help="port of listen.http (/metrics, /healthz, /readyz), whose host does not change (Triton's flag)",
    )
    parser.add_argument("--metrics-port", type=int, metavar="N", help="the same as --http-port")
    triton.add_arguments(parser)
    parser.epilog = "Other flags of Triton are accepted too, or are an error that says what to write instead."


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


def state_of_arguments(arguments: argparse.Namespace, environ: Mapping[str, str] = os.environ) -> Path:
    """Where the server keeps its state as far as files have no say in it. Raises ProblemsFound."""
    return outer_state(merge([from_environment(environ), from_sets(arguments.sets)]))


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
