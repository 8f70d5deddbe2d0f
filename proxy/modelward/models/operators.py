"""Which operators a model may use: those that ship with ONNX Runtime, and functions that the model brings itself.

An operator of another domain is code that somebody would have to load into the server.
"""

import graphlib
from collections.abc import Iterator
from typing import Any

from onnx import GraphProto

from modelward.problem import Problem
from modelward.suggest import suggestion

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})

# EPContext names a file with the compiled model of an accelerator, which the runtime opens by itself.
REFUSED_OPERATORS = frozenset({("com.microsoft", "EPContext")})

# Functions are expanded where they are called: twenty that call each other twice are a million nodes.
MOST_NODES = 1_000_000

# domain, name, overload
_Function = tuple[str, str, str]


def graphs_of(body: Any) -> Iterator[Any]:
    """A GraphProto or FunctionProto and every graph in the attributes below it."""
    pending = [body]
    while pending:
        graph = pending.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    pending.append(attribute.g)
                pending.extend(attribute.graphs)


def check_operators(model: Any, where: str) -> list[Problem]:
    """Operators of other domains, functions that call themselves or grow beyond a million nodes."""
    bodies: dict[_Function | None, Any] = {(f.domain, f.name, f.overload): f for f in model.functions}
    bodies[None] = model.graph
    calls: dict[_Function | None, list[_Function]] = {body: [] for body in bodies}
    sizes: dict[_Function | None, int] = dict.fromkeys(bodies, 0)
    foreign: dict[str, str] = {}
    refused: set[str] = set()
    for identity, body in bodies.items():
        for node in (node for graph in graphs_of(body) for node in graph.node):
            function = (node.domain, node.op_type, node.overload)
            sizes[identity] += 1
            if function in bodies:
                calls[identity].append(function)
            elif function[:2] in REFUSED_OPERATORS:
                refused.add(node.op_type)
            elif node.domain not in DOMAINS:
                foreign.setdefault(node.domain, node.op_type)
    problems = [_foreign(domain, operator, where) for domain, operator in sorted(foreign.items())]
    why = "it makes the runtime open further files"
    problems += [
        Problem(f"the operator {name} is refused", where, why, "Export without it") for name in sorted(refused)
    ]
    return problems + _check_expansion(calls, sizes, where)


def _foreign(domain: str, operator: str, where: str) -> Problem:
    allowed = sorted(DOMAINS - {""})
    return Problem(
        f"operator {operator[:64]!r} is of the domain {domain[:64]!r}",
        where,
        "custom operators are code from outside, which this server never loads",
        suggestion(domain, allowed) or f"Export with operators of {', '.join(allowed)} only",
    )


def _check_expansion(
    calls: dict[_Function | None, list[_Function]], sizes: dict[_Function | None, int], where: str
) -> list[Problem]:
    try:
        order = list(graphlib.TopologicalSorter(calls).static_order())
    except graphlib.CycleError as error:
        names = " -> ".join(repr(name[:64]) for _, name, _ in error.args[1][::-1])
        return [Problem(f"functions of the model call each other in a circle, {names}", where, how="Export it without")]
    for function in order:
        sizes[function] += sum(sizes[called] for called in calls[function])
    if sizes[None] > MOST_NODES:
        return [Problem(f"the model has more than {MOST_NODES} nodes once its functions are expanded", where)]
    return []


def tensors_of(model: Any) -> Iterator[Any]:
    """Every TensorProto that holds data: initializers and attributes, of all graphs and functions."""
    for graph in (graph for body in (model.graph, *model.functions) for graph in graphs_of(body)):
        for node in graph.node:
            for attribute in node.attribute:
                yield from (attribute.t, *attribute.tensors)
                for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                    yield from (sparse.values, sparse.indices)
        if isinstance(graph, GraphProto):
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
