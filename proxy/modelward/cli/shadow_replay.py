"""`modelward shadow replay`: sends the requests of samples again, and tells whether their answers still disagree."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

import grpc

from modelward.cli.admin import DONE, REFUSED, UNREACHABLE
from modelward.cli.output import print_json, print_problems, print_table
from modelward.cli.shadow_samples import opened, parsed, samples_of, verdict_words
from modelward.problem import Problem, ProblemsFound
from modelward.rpc.protocol import INFERENCE_SERVICE
from modelward.shadow.samples import Kept
from modelward_native.shadow.compare import compare

COLUMNS = ("sample", "shadow", "disagreed by", "disagrees by", "now")
TIMEOUT_SECONDS = 10.0
# what is known to disagree must not be counted once more
UNMIRRORED = (("modelward-shadow", "1"),)
NO_SERVER = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
# answers may be as large as the server lets them be; a proxy for the web is not on the way to it
CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_http_proxy", 0),
)

Ask = Callable[[bytes, str | None], bytes]  # a request, for a version or as it was; the answer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--to", required=True, metavar="ADDRESS", help="address of the server: host:port or unix:/path")
    parser.add_argument(
        "--versions",
        default="",
        metavar="V[,W]",
        help="two versions: both are asked; one (default: that of the request): compared with the stored answer",
    )


def replay(arguments: argparse.Namespace) -> int:
    """0 where all agree now, 1 where one does not or fails, 2 where no server answers. Raises ProblemsFound."""
    versions = [version for version in arguments.versions.split(",") if version]
    if len(versions) > 2:
        how = "Name one version, or two to compare: --versions 1,2"
        raise ProblemsFound([Problem(f"{len(versions)} versions cannot be compared", "--versions", how=how)])
    chosen = samples_of(arguments)[: arguments.limit]
    with closing(grpc.insecure_channel(arguments.to, options=CHANNEL_OPTIONS)) as channel:
        if (why := _unreachable(channel)) is not None:
            how = "Check that the server runs, and --to"
            print_problems([Problem(f"no server answers at {arguments.to}", "--to", why, how)])
            return UNREACHABLE
        rows = [_again(each, partial(_ask, channel), versions, arguments.tolerance) for each in chosen]
    if arguments.json:
        print_json({"samples": rows})
    else:
        print_table(f"model {arguments.model}: {len(rows)} requests sent again", COLUMNS, [
            (row["sample"], row["shadow"], f"{row['before']:.4g}", "-" if row["now"] is None else f"{row['now']:.4g}",
             row["why"])
            for row in rows
        ])  # fmt: skip
    return DONE if all(row["now"] == 0 for row in rows) else REFUSED


def _unreachable(channel: grpc.Channel) -> str | None:
    """Why no server answers; None where one does. A server that sheds requests still says that it lives."""
    try:
        channel.unary_unary(f"/{INFERENCE_SERVICE}/ServerLive")(b"", timeout=TIMEOUT_SECONDS)
    except grpc.RpcError as error:
        return error.details() or "" if error.code() in NO_SERVER else None
    return None


def _again(each: Kept, ask: Ask, versions: list[str], tolerance: float) -> dict[str, Any]:
    """now: the disagreement, None where there is none to be told."""
    sample = opened(each)
    row = {"sample": each.name, "shadow": sample.shadow_name, "before": sample.disagreement, "now": None}
    try:
        last = ask(sample.request, versions[-1] if versions else None)
        first = ask(sample.request, versions[0]) if len(versions) > 1 else sample.primary
    except _Refused as refused:
        return row | {"why": str(refused)}
    found = compare(first, last, tolerance)
    comparable = found["status"] != "primary unreadable"
    return row | {"now": found["disagreement"] if comparable else None, "why": verdict_words(found)}


class _Refused(Exception):
    """The server's answer is an error."""


def _ask(channel: grpc.Channel, request: bytes, version: str | None) -> bytes:
    if version is not None:
        message = parsed("ModelInferRequest", request)
        if message is None:
            raise _Refused("the request cannot be read, so no other version can be asked")
        message.model_version = version
        request = message.SerializeToString()
    try:
        # bytes both ways: what is compared is what was sent
        infer = channel.unary_unary(f"/{INFERENCE_SERVICE}/ModelInfer")
        answer: bytes = infer(request, timeout=TIMEOUT_SECONDS, metadata=UNMIRRORED)
    except grpc.RpcError as error:
        raise _Refused(f"{error.code().name}: {error.details()}") from error
    return answer
