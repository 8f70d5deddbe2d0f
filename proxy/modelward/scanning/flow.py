"""Names, and what depends on what: values made twice or never, results without an output, outputs without an input."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable

from modelward.scanning.finding import Findings, quoted
from modelward.scanning.outline import Graph, Model, Node, graphs_of, named
from modelward.scanning.tensors import size_of

LARGE = 64 << 10  # bytes of constants that nothing uses
Names = tuple[set[str], ...]  # of a graph and those around it
RANDOM = frozenset({"RandomNormal", "RandomUniform", "Multinomial", "Bernoulli"})


def check(model: Model, findings: Findings) -> None:
    for body in model.bodies:
        _check_scope(body, (), findings)
    for function in model.functions:
        _check_reach(function.body, {value.name for value in function.body.inputs}, findings, is_whole=False)
    if model.graph is not None:
        constants = {tensor.name for tensor in model.graph.constants}
        inputs = {value.name for value in model.graph.inputs} - constants
        _check_reach(model.graph, inputs, findings, is_whole=True)
    _check_names(model, findings)


def _check_scope(graph: Graph, outer: Names, findings: Findings) -> None:
    """That each value is made once, and before it is read. outer: what is made so far around it."""
    of = f"graph {quoted(graph.name)}"
    constants = [tensor.name for tensor in graph.constants]
    given = [value.name for value in graph.inputs]
    results = [name for node in graph.nodes for name in node.outputs if name]
    for names, kind in ((constants, "initializers"), (given, "inputs"), (results, "results")):
        for name, count in Counter(names).items():
            if count > 1:
                findings.add("name-twice", f"{count} {kind} are called {quoted(name)}", of)
    here = {*constants, *given}
    for name in here.intersection(results):
        findings.add("name-twice", f"a result and an input or initializer are called {quoted(name)}", of)
    for name in sorted(name for name in {*here, *results} if _is_in(name, outer)):
        findings.add("name-shadowed", f"{quoted(name)} has another meaning in the graph around it", of)
    later = set(results)
    seen = {*here, ""}
    around = (seen, *outer)
    for node in graph.nodes:
        for name in node.inputs:
            if not _is_in(name, around):
                made = "is made only later" if name in later else "is made by nothing"
                findings.add("name-undefined", f"it reads {quoted(name)}, which {made}", named(node))
        for below in node.graphs:
            _check_scope(below, around, findings)
        seen.update(node.outputs)
    for output in graph.outputs:
        if not _is_in(output.name, around):
            findings.add("output-missing", f"nothing makes the output {quoted(output.name)}", of)


def _is_in(name: str, scopes: Names) -> bool:
    return any(name in scope for scope in scopes)


def _reads(node: Node) -> Iterable[str]:
    """Names that a node reads, those of the graphs below it included, whatever makes them."""
    yield from node.inputs
    for below in node.graphs:
        for graph in graphs_of(below):
            yield from (output.name for output in graph.outputs)
            for inner in graph.nodes:
                yield from inner.inputs


def _check_reach(graph: Graph, inputs: set[str], findings: Findings, *, is_whole: bool) -> None:
    """is_whole: of a model's graph; a function's outputs may be constants."""
    reads = [set(_reads(node)) for node in graph.nodes]
    needed = {output.name for output in graph.outputs}
    dead = []
    for node, read in zip(reversed(graph.nodes), reversed(reads), strict=True):
        if needed.intersection(node.outputs):
            needed |= read
        else:
            dead.append(node)
    of = f"graph {quoted(graph.name)}"
    if dead:
        findings.add("node-dead", f"{len(dead)} of {len(graph.nodes)} nodes reach no output", named(dead[-1]))
    unused = [tensor for tensor in graph.constants if tensor.name not in needed]
    if (size := sum(map(size_of, unused))) >= LARGE:
        findings.add("data-unused", f"{len(unused)} initializers of {size:,} bytes reach no output", of)
    if not is_whole:
        return
    for name in sorted(inputs - needed):
        findings.add("input-unused", f"no output depends on the input {quoted(name)}")
    moved = set(inputs)
    for node, read in zip(graph.nodes, reads, strict=True):
        if node.operator in RANDOM or moved.intersection(read):
            moved.update(node.outputs)
    for output in graph.outputs:
        if output.name not in moved:
            findings.add("output-constant", f"the output {quoted(output.name)} depends on no input")


def _check_names(model: Model, findings: Findings) -> None:
    for name in dict.fromkeys(_names(model)):
        if fault := unprintable(name):
            findings.add("name-unprintable", f"a name has {fault}", quoted(name))
        if ".." in name and ".." in name.replace("\\", "/").split("/"):
            findings.add("name-path", "a name leads out of a folder", quoted(name))


def _names(model: Model) -> Iterable[str]:
    for domain, _ in model.imports:
        yield domain
    for function in model.functions:
        yield from function.key
    for graph in (graph for body in model.bodies for graph in graphs_of(body)):
        yield graph.name
        yield from (tensor.name for tensor in graph.constants)
        yield from (value.name for value in (*graph.inputs, *graph.outputs, *graph.values))
        for node in graph.nodes:
            yield from (node.name, node.operator, node.domain)
            yield from node.outputs
            yield from (attribute.name for attribute in node.attributes)


def unprintable(name: str) -> str:
    """What in it a terminal would not print as it is, or ""."""
    if name.isprintable() and name.isascii():
        return ""
    for character in name:
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            return f"the character U+{ord(character):04X}"
    return ""
