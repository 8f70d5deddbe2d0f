"""`modelward shadow show`: requests on which a shadow disagreed, listed, or one of them with both answers."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from modelward.cli.output import console, print_json, print_table, rfc3339
from modelward.cli.shadow_samples import (
    UNREADABLE,
    arrays,
    difference,
    opened,
    outputs_of,
    parsed,
    samples_of,
    time_of,
    verdict_words,
)
from modelward.cli.text import plain
from modelward.cli.values import as_text, to_json
from modelward.problem import Problem, ProblemsFound
from modelward.rpc.contents import Array
from modelward.shadow.samples import Kept
from modelward_native.shadow.compare import compare

COLUMNS = ("sample", "shadow", "time", "disagreement", "request, bytes")


def show(arguments: argparse.Namespace) -> int:
    """0. Raises ProblemsFound, also where there is nothing to show."""
    found = samples_of(arguments)
    if arguments.sample is not None:
        named = [each for each in found if each.name == arguments.sample]
        if not named:
            what = f"there is no sample {arguments.sample} of shadow {arguments.shadow}"
            how = f"modelward shadow show {arguments.model} {arguments.shadow} lists those that there are"
            raise ProblemsFound([Problem(what, f"model {arguments.model}", how=how)])
        _open(named[0], arguments)
    else:
        _list(found[: arguments.limit], len(found), arguments)
    return 0


def _list(listed: list[Kept], count: int, arguments: argparse.Namespace) -> None:
    if arguments.json:
        print_json({"count": count, "samples": [_facts(each) for each in listed]})
        return
    title = f"model {arguments.model}: {len(listed)} of {count} samples, the newest first"
    print_table(title, COLUMNS, [
        (each.name, each.heading.shadow_name, time_of(each.heading.time_ns), f"{each.heading.disagreement:.4g}",
         f"{each.heading.sizes[0]:,}")
        for each in listed
    ])  # fmt: skip


def _facts(each: Kept) -> dict[str, Any]:
    heading = each.heading
    return {
        "sample": each.name,
        "shadow": heading.shadow_name,
        "time": rfc3339(heading.time_ns / 1e9),
        "disagreement": heading.disagreement,
        "request_bytes": heading.sizes[0],
        "file": str(each.file),
    }


def _open(each: Kept, arguments: argparse.Namespace) -> None:
    sample = opened(each)
    request = parsed("ModelInferRequest", sample.request)
    inputs = arrays(request.inputs, request.raw_input_contents) if request is not None else {}
    answers = [parsed("ModelInferResponse", side) for side in (sample.primary, sample.shadow)]
    ours, theirs = map(outputs_of, answers)
    found = compare(sample.primary, sample.shadow, arguments.tolerance)
    if arguments.json:
        print_json(
            _facts(each)
            | {
                "inputs": _tensors(inputs),
                "primary": {"version": _version(answers[0]), "outputs": _tensors(ours)},
                "of_shadow": {"version": _version(answers[1]), "outputs": _tensors(theirs)},
                "comparison": found,
            }
        )
        return
    console().print(
        f"model {plain(sample.model)}, shadow {plain(sample.shadow_name)}, sample {each.name} of "
        f"{time_of(sample.time_ns)}: disagreement {sample.disagreement:.4g}; {verdict_words(found)}",
        soft_wrap=True,
    )
    print_table("request", ("input", "datatype", "shape", "value"), [
        (name, tensor.datatype, list(tensor.shape), _words(array)) for name, (tensor, array) in inputs.items()
    ])  # fmt: skip
    versions = [_version(answer) for answer in answers]
    columns = ("output", f"model, version {versions[0]}", f"shadow, version {versions[1]}", "difference")
    print_table("answers", [plain(column) for column in columns], [
        (name, _cell(ours, name), _cell(theirs, name), difference(ours.get(name), theirs.get(name)))
        for name in dict.fromkeys((*ours, *theirs))
    ])  # fmt: skip


def _tensors(named: Mapping[str, tuple[Any, Array | None]]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "datatype": tensor.datatype,
            "shape": list(tensor.shape),
            "data": None if array is None else to_json(array),
        }
        for name, (tensor, array) in named.items()
    ]


def _version(answer: Any) -> str:
    return UNREADABLE if answer is None else answer.model_version or "unknown"


def _cell(named: Mapping[str, tuple[Any, Array | None]], name: str) -> str:
    return _words(named[name][1]) if name in named else ""


def _words(array: Array | None) -> str:
    return UNREADABLE if array is None else as_text(array)
