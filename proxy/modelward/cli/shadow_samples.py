"""What `modelward shadow show` and `replay` share: the samples on disk, their requests and answers, what differs."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modelward.config.layer import merge
from modelward.config.sources import from_environment, from_file
from modelward.config.state_folder import state_folder
from modelward.problem import Problem, ProblemsFound
from modelward.rpc.contents import AnswerProblem, Array, decode_all
from modelward.rpc.protocol import Malformed, Message, message_class, parse
from modelward.shadow.samples import FOLDER, Kept, Sample, SampleError, kept, read

if TYPE_CHECKING:
    from modelward_native.shadow.compare import Comparison

LIMIT = 20
TOLERANCE = 0.001
HOW = "Give the folder `state` of the server with --state, or its configuration with --config"
UNREADABLE = "cannot be read"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="name of the model")
    parser.add_argument(
        "shadow", metavar="SHADOW", nargs="?", help="version or first upstream of the shadow (default: all)"
    )
    parser.add_argument("--state", type=Path, metavar="FOLDER", help="folder `state` of the server")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="configuration file of the server, to find its folder `state`"
    )
    parser.add_argument(
        "--limit",
        type=_count,
        default=LIMIT,
        metavar="N",
        help="number of requests, the newest first (default: %(default)s)",
    )
    parser.add_argument(
        "--tolerance",
        type=_tolerance,
        default=TOLERANCE,
        metavar="T",
        help="relative difference of two numbers that still agree (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return count


def _tolerance(text: str) -> float:
    tolerance = float(text)
    if not 0 <= tolerance < 1:
        raise argparse.ArgumentTypeError("0 or more, and below 1")
    return tolerance


def samples_of(arguments: argparse.Namespace) -> list[Kept]:
    """The newest first. Raises ProblemsFound, also where there is none."""
    folder = _folder(arguments) / FOLDER
    try:
        found = kept(folder, arguments.model, arguments.shadow)
    except OSError as error:
        why = error.strerror or str(error)
        how = "Run this as the user that the server runs as"
        raise ProblemsFound([Problem("samples cannot be read", str(error.filename), why, how)]) from error
    if not found:
        how = HOW
        if arguments.state is not None or arguments.config is not None:  # it is where the server writes
            how = "No mirrored request has disagreed so far, or samples is off for the shadow"
        raise ProblemsFound([Problem(f"there are no samples of model {arguments.model}", str(folder), how=how)])
    return found


def _folder(arguments: argparse.Namespace) -> Path:
    if arguments.state is not None:
        return Path(arguments.state)
    files = [from_file(arguments.config)] if arguments.config is not None else []
    configured = merge([*files, from_environment(os.environ)]).values.get("state")
    return state_folder(Path(configured) if isinstance(configured, str) else None)


def opened(each: Kept) -> Sample:
    """Raises ProblemsFound."""
    try:
        return read(each.file)
    except (OSError, SampleError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ProblemsFound([Problem("the sample cannot be read", str(each.file), why)]) from error


def time_of(time_ns: int) -> str:
    return f"{datetime.fromtimestamp(time_ns / 1e9, UTC):%Y-%m-%d %H:%M:%SZ}"


def parsed(kind: str, data: bytes) -> Any:
    """A message of the inference protocol; None where it is none."""
    try:
        return parse(message_class(f"inference.{kind}"), data)
    except Malformed:
        return None


def arrays(tensors: Any, raws: Any) -> Mapping[str, tuple[Any, Array | None]]:
    """Tensor and array by name; no array where the contents are not what the tensor says."""
    try:
        decoded: list[Array | None] = [*decode_all(tensors, raws)]
    except AnswerProblem:
        decoded = [None] * len(tensors)
    return {tensor.name: (tensor, array) for tensor, array in zip(tensors, decoded, strict=True)}


def outputs_of(answer: Message | None) -> Mapping[str, tuple[Any, Array | None]]:
    read: Any = answer
    return arrays(read.outputs, read.raw_output_contents) if read is not None else {}


def difference(ours: tuple[Any, Array | None] | None, theirs: tuple[Any, Array | None] | None) -> str:
    """Between one output of the model's answer and that of the shadow's, in words."""
    if ours is None or theirs is None:
        return "only the shadow has it" if ours is None else "only the model has it"
    (tensor, a), (other, b) = ours, theirs
    if tensor.datatype != other.datatype:
        return f"datatype {other.datatype} in place of {tensor.datatype}"
    if list(tensor.shape) != list(other.shape):
        return f"shape {list(other.shape)} in place of {list(tensor.shape)}"
    if a is None or b is None:
        return UNREADABLE
    if a.dtype.kind != "f":
        count = int(np.count_nonzero(a != b))
        return f"{count} of {a.size}" if count else "none"
    a, b = a.astype(np.float64), b.astype(np.float64)
    differ = ~((a == b) | (np.isnan(a) & np.isnan(b)))
    if not differ.any():
        return "none"
    with np.errstate(invalid="ignore"):
        distances = np.abs(a[differ] - b[differ])
    finite = distances[np.isfinite(distances)]
    most = f", by {finite.max():.4g} at most" if finite.size else ""
    return f"{int(differ.sum())} of {a.size}{most}"


def verdict_words(found: Comparison) -> str:
    """What a comparison says, the reason first."""
    if found["status"] != "compared":
        return f"the answer of the {found['status'].split()[0]} cannot be read"
    forms = [
        f"{found[kind]} {words}"  # type: ignore[literal-required]
        for kind, words in (
            ("missing", "outputs are missing"),
            ("datatype", "outputs have another datatype"),
            ("shape", "outputs have another shape"),
            ("unreadable", "outputs cannot be read"),
        )
        if found[kind]  # type: ignore[literal-required]
    ]
    if found["labels"]:
        forms.append(f"{found['labels_differ']} of {found['labels']} labels differ")
    if found["numbers"]:
        forms.append(f"{found['beyond']} of {found['numbers']} numbers are beyond the tolerance")
    return ", ".join(forms) or "nothing to compare"
