"""Which operators, functions and operator sets a model uses."""

from __future__ import annotations

import graphlib
from collections import Counter

import onnx.defs

from modelward.scanning.finding import Findings, quoted
from modelward.scanning.outline import Imports, Key, Model, Node, graphs_of, named
from modelward.scanning.standard import KNOWN

STANDARD = frozenset({"", "ai.onnx", "ai.onnx.ml"})
CONTRIB = "com.microsoft"
PYTHON = frozenset({"PyOp", "PythonOp", "PyCustomOp", "PyCustomOpDef"})
OPENS_FILES = frozenset({(CONTRIB, "EPContext")})
OLDEST_OPSET, OLDEST_IR = 7, 3  # as ONNX Runtime supports them
MOST_NODES = 1_000_000  # once functions are expanded


def check_operators(model: Model, findings: Findings) -> None:
    """Once for each operator, with how many nodes there are of it."""
    functions = {function.key for function in model.functions}
    counts: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], Node] = {}
    for node in (node for body in model.bodies for graph in graphs_of(body) for node in graph.nodes):
        if (node.domain, node.operator, node.overload) in functions:
            continue
        key = node.domain, node.operator
        counts[key] += 1
        first.setdefault(key, node)
    for (domain, operator), count in counts.items():
        rule = _rule(domain, operator)
        if rule is not None:
            what = f"{count} of the operator {quoted(operator)} of {quoted(domain)}"
            findings.add(rule, what, named(first[domain, operator]))


def _rule(domain: str, operator: str) -> str | None:
    if operator in PYTHON:
        return "operator-python"
    if (domain, operator) in OPENS_FILES:
        return "operator-opens-files"
    if domain == CONTRIB:
        return "operator-contrib"
    if domain not in STANDARD:
        return "operator-foreign"
    domain = "" if domain == "ai.onnx" else domain
    known = (not domain and operator in KNOWN) or onnx.defs.has(operator, domain)
    return None if known else "operator-unknown"


def check_functions(model: Model, findings: Findings) -> None:
    calls: dict[Key, list[Key]] = {}
    sizes: dict[Key, int] = {}
    known = {function.key for function in model.functions}
    for function in model.functions:
        domain, name, _ = function.key
        if domain in STANDARD | {CONTRIB}:
            what = f"the function {quoted(name)} stands for an operator of {quoted(domain)}"
            findings.add("function-shadows-operator", what)
        if function.key in calls:
            findings.add("name-twice", f"two functions are called {quoted(name)} of {quoted(domain)}")
        nodes = [node for graph in graphs_of(function.body) for node in graph.nodes]
        keys = [(node.domain, node.operator, node.overload) for node in nodes]
        calls[function.key] = [key for key in keys if key in known]
        sizes[function.key] = len(nodes)
    try:
        order = list(graphlib.TopologicalSorter(calls).static_order())
    except graphlib.CycleError as error:
        names = " -> ".join(quoted(name) for _, name, _ in error.args[1][:8])
        findings.add("function-endless", f"functions call each other in a circle, {names}")
        return
    for key in order:
        sizes[key] += sum(sizes[called] for called in calls[key])
    used = [
        (node.domain, node.operator, node.overload)
        for body in ([model.graph] if model.graph is not None else [])
        for graph in graphs_of(body)
        for node in graph.nodes
    ]
    if sum(sizes.get(key, 1) for key in used) > MOST_NODES:
        findings.add("function-endless", f"functions expand to more than {MOST_NODES:,} nodes")


def check_imports(model: Model, findings: Findings) -> None:
    if not OLDEST_IR <= model.ir_version <= onnx.IR_VERSION:
        what = f"the model has IR version {model.ir_version}, supported are {OLDEST_IR} to {onnx.IR_VERSION}"
        findings.add("opset-version", what)
    main = [model.graph, *model.training] if model.graph is not None else model.training
    used = {node.domain for body in main for graph in graphs_of(body) for node in graph.nodes}
    functions = {function.domain for function in model.functions}
    _check_imports(model.imports, used, functions, "", findings)
    for function in model.functions:
        inner = {node.domain for graph in graphs_of(function.body) for node in graph.nodes}
        _check_imports(
            function.imports or model.imports, inner, functions, f"function {quoted(function.name)}", findings
        )


def _check_imports(imports: Imports, used: set[str], functions: set[str], place: str, findings: Findings) -> None:
    alike = ["" if domain == "ai.onnx" else domain for domain, _ in imports]
    for domain, count in Counter(alike).items():
        versions = {version for each, (_, version) in zip(alike, imports, strict=True) if each == domain}
        if count > 1 and len(versions) > 1:
            findings.add("opset-twice", f"{quoted(domain)} is imported as {sorted(versions)[:8]}", place)
    newest = onnx.defs.onnx_opset_version()
    for domain, version in dict.fromkeys(imports):
        if domain in ("", "ai.onnx") and not OLDEST_OPSET <= version <= newest:
            what = f"opset {version} is imported, supported are {OLDEST_OPSET} to {newest}"
            findings.add("opset-version", what, place)
        elif domain not in STANDARD | {CONTRIB} | functions and domain not in used:
            findings.add("opset-unused", f"the domain {quoted(domain)} is imported and not used", place)
    for domain in sorted({"" if each == "ai.onnx" else each for each in used} - set(alike) - functions):
        findings.add("opset-missing", f"the domain {quoted(domain)} is used and not imported", place)


def check(model: Model, findings: Findings) -> None:
    check_operators(model, findings)
    check_functions(model, findings)
    check_imports(model, findings)
    if model.training:
        findings.add("training-graph", "the model has graphs for training")
