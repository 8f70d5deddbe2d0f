"""The command line of `serve` and `check` that is about the configuration."""

import argparse
from pathlib import Path

from modelward.config import triton


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
