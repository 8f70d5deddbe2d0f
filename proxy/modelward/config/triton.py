"""Flags of tritonserver: those that mean something here are taken, the others answered with what to write instead."""

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from modelward.config.layer import Layer
from modelward.problem import WrongUsage

YES, NO = ("true", "1", "on", "yes"), ("false", "0", "off", "no")
LEVELS = {"debug": 0, "info": 1, "warning": 2, "error": 3}

NO_GPU = "models run on the CPU here: leave it out"
TLS = "write --set tls.certificate=FILE --set tls.key=FILE, and tls.client_ca for clients' certificates"
SIGNATURES = "an ONNX file has its own signature, and config.pbtxt is not needed: leave it out"
# flags that take a value, and those that do not
ANSWERS = {
    "--backend-config": "settings of ONNX models go to models.NAME in --config FILE, or to NAME/model.yaml",
    "--backend-directory": "ONNX Runtime is built in: leave it out",
    "--cache-config": "write models.NAME.fallback: [last_good: {}] for answers that are kept; there is no other cache",
    "--cuda-memory-pool-byte-size": NO_GPU,
    "--min-supported-compute-capability": NO_GPU,
    "--pinned-memory-pool-byte-size": NO_GPU,
    "--allow-gpu-metrics": NO_GPU,
    "--buffer-manager-thread-count": "tensors are not copied by threads of their own: leave it out",
    "--id": "ServerMetadata names the server modelward: leave it out",
    "--model-store": "write --model-repository PATH",
    "--load-model": "every model of the repository is served: keep the others out of it",
    "--model-load-thread-count": "models are opened one after the other: leave it out",
    "--rate-limit": "write limits: or models.NAME.limit in --config FILE",
    "--trace-config": "set traceparent on requests; there is no trace file",
    "--http-thread-count": "no inference is served over HTTP: leave it out",
    "--grpc-infer-allocation-pool-size": "leave it out; limits.inflight_bytes bounds what requests hold",
    "--grpc-use-ssl": TLS,
    "--grpc-use-ssl-mutual": f"{TLS}; with --set tls.require_client_certificate=true",
    "--grpc-server-cert": TLS,
    "--grpc-server-key": TLS,
    "--grpc-root-cert": TLS,
    "--metrics-interval-ms": "metrics are of the moment of the scrape: leave it out",
    "--metrics-config": "metrics are always counters and histograms: leave it out",
}
ANSWERS_ALONE = {
    "--disable-auto-complete-config": SIGNATURES,
}


class _Answer(argparse.Action):
    """One line, and exit 2."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, values: Any, flag: str | None = None
    ) -> NoReturn:
        answer(parser, str(flag), {**ANSWERS, **ANSWERS_ALONE}[str(flag)])


def answer(parser: argparse.ArgumentParser, flag: str, words: str) -> NoReturn:
    parser.exit(2, f"{parser.prog}: {flag}: {words}\n")


class _Yes(argparse.Action):
    """A switch of Triton's, `--flag`, `--flag=true` or `--flag false`. answers: to a value that cannot be had here."""

    def __init__(self, option_strings: Sequence[str], dest: str, answers: dict[bool, str] | None = None) -> None:
        super().__init__(option_strings, dest, nargs="?", const="true", metavar="BOOL", help=argparse.SUPPRESS)
        self._answers = answers or {}

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, flag: str | None = None) -> None:
        word = str(values).lower()
        if word not in (*YES, *NO):
            answer(parser, str(flag), f"{values!r} is neither true nor false")
        if (wanted := word in YES) in self._answers:
            answer(parser, str(flag), self._answers[wanted])
        setattr(namespace, self.dest, wanted)


class _Mode(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, flag: str | None = None) -> None:
        if values not in ("none", "poll"):
            words = "explicit loading is not there: write none to serve the repository as it is, or poll to follow it"
            answer(parser, str(flag), words)
        namespace.watch = values == "poll"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Hidden from the help, which names them in one line."""
    hidden: dict[str, Any] = {"help": argparse.SUPPRESS}
    for listener in ("grpc", "http", "metrics"):
        parser.add_argument(f"--{listener}-address", metavar="HOST", **hidden)
    metrics = "metrics and probes share listen.http: keep it local with --set listen.http=127.0.0.1:8002"
    parser.add_argument("--allow-grpc", action=_Yes, answers={False: "requests come by gRPC alone: leave it out"})
    parser.add_argument("--allow-http", action=_Yes)  # no inference is served over HTTP in either case
    parser.add_argument("--allow-metrics", action=_Yes, answers={False: metrics})
    parser.add_argument("--log-verbose", type=int, metavar="N", **hidden)
    parser.add_argument("--log-info", action=_Yes)
    parser.add_argument("--log-warning", action=_Yes)
    parser.add_argument("--log-error", action=_Yes, answers={False: "errors are always logged: leave it out"})
    parser.add_argument("--exit-on-error", action=_Yes)
    parser.add_argument("--strict-model-config", action=_Yes, answers={True: SIGNATURES})
    ready = "/readyz always waits for every model; /healthz does not"
    parser.add_argument("--strict-readiness", action=_Yes, answers={False: ready})
    parser.add_argument("--model-control-mode", action=_Mode, dest="watch", metavar="MODE", **hidden)
    parser.add_argument("--repository-poll-secs", type=int, metavar="N", **hidden)  # changes are seen within a second
    parser.add_argument("--exit-timeout-secs", type=int, metavar="N", **hidden)
    for flag in ANSWERS:
        parser.add_argument(flag, action=_Answer, nargs="?", **hidden)
    for flag in ANSWERS_ALONE:
        parser.add_argument(flag, action=_Answer, nargs=0, **hidden)


def host_and_port(arguments: argparse.Namespace, listener: str) -> tuple[str | None, int | None]:
    """Of listen.grpc or listen.http. Raises WrongUsage."""
    if listener == "grpc":
        return arguments.grpc_address, arguments.grpc_port
    for what in ("address", "port"):
        http, metrics = (getattr(arguments, f"{name}_{what}") for name in ("http", "metrics"))
        if None not in (http, metrics) and http != metrics:
            words = (
                f"metrics and probes share listen.http, and no inference is served over HTTP: leave --http-{what} out"
            )
            raise WrongUsage(f"--http-{what} beside --metrics-{what}: {words}")
    host, port = arguments.http_address, arguments.http_port
    return (
        host if host is not None else arguments.metrics_address,
        port if port is not None else arguments.metrics_port,
    )


def layers(arguments: argparse.Namespace) -> Sequence[Layer]:
    """What they set, but for addresses and the log."""
    found = [
        (("watch",), arguments.watch, "--model-control-mode"),
        (("strict",), arguments.exit_on_error, "--exit-on-error"),
        (("drain", "timeout"), _seconds(arguments.exit_timeout_secs), "--exit-timeout-secs"),
    ]
    return [Layer.of(path, value, flag) for path, value, flag in found if value is not None]


def log_level(arguments: argparse.Namespace) -> str | None:
    """--log-level, unless Triton's flags say otherwise; None where neither says anything."""
    given: str | None = arguments.log_level
    if arguments.log_verbose:
        return "debug"
    if arguments.log_warning is False:
        return "error"
    return "warning" if arguments.log_info is False else given


def _seconds(number: int | None) -> str | None:
    return None if number is None else f"{number}s"
